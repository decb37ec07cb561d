#include "osculant/model/likelihood.h"

#include <ATen/ATen.h>

#include <cmath>

namespace osculant {
namespace {

class Gaussian : public Likelihood {
 public:
  std::string name() const override { return "gaussian"; }
  std::string refusal(const Tensor&) const override { return ""; }
  Tensor draw(const Tensor& z, const Tensor& u) const override {
    return z + (std::sqrt(0.5) * at::special_ndtri(u)).to(z.scalar_type());
  }
};

class Categorical : public Likelihood {
 public:
  std::string name() const override { return "categorical"; }
  std::string refusal(const Tensor& y) const override {
    return y.is_floating_point() ? "targets are probabilities, not labels" : "";
  }
  // The first class whose cumulative probability exceeds u.
  Tensor draw(const Tensor& z, const Tensor& u) const override {
    Tensor cumulative = at::softmax(z.to(at::kDouble), 1).cumsum(1);
    return cumulative.le(u.unsqueeze(1)).sum(1).clamp_max(z.size(1) - 1);
  }
};

class Bernoulli : public Likelihood {
 public:
  std::string name() const override { return "bernoulli"; }
  std::string refusal(const Tensor& y) const override {
    return y.eq(0).logical_or(y.eq(1)).all().item<bool>() ? "" : "targets are not all 0 or 1";
  }
  Tensor draw(const Tensor& z, const Tensor& u) const override {
    return u.lt(at::sigmoid(z.to(at::kDouble))).to(z.scalar_type());
  }
};

class PoissonCounts : public Likelihood {
 public:
  std::string name() const override { return "poisson"; }
  std::string refusal(const Tensor& y) const override {
    return !y.is_floating_point() || y.eq(y.floor()).all().item<bool>() ? ""
                                                                        : "targets are not whole numbers";
  }
  // The least count k with P(y <= k) = Q(k + 1, mean) > u, Q the regularised upper incomplete gamma function,
  // by bisection: at 9 deviations and some beyond the mean the tail is below 1e-16.
  Tensor draw(const Tensor& z, const Tensor& u) const override {
    Tensor mean = z.to(at::kDouble).exp();
    Tensor low = at::full_like(mean, -1), high = (mean + 9 * mean.sqrt() + 40).ceil();
    auto steps = static_cast<int>(std::ceil(std::log2(high.max().item<double>() + 2)));
    for (int i = 0; i < steps; ++i) {
      Tensor middle = ((low + high) / 2).floor();
      Tensor reached = at::special_gammaincc(middle + 1, mean).gt(u);
      high = at::where(reached, middle, high);
      low = at::where(reached, low, middle);
    }
    return high.to(z.scalar_type());
  }
};

}  // namespace

std::shared_ptr<const Likelihood> gaussian_likelihood() {
  return std::make_shared<Gaussian>();
}
std::shared_ptr<const Likelihood> categorical_likelihood() {
  return std::make_shared<Categorical>();
}
std::shared_ptr<const Likelihood> bernoulli_likelihood() {
  return std::make_shared<Bernoulli>();
}
std::shared_ptr<const Likelihood> poisson_likelihood() {
  return std::make_shared<PoissonCounts>();
}

}  // namespace osculant
