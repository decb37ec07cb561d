#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

#include "osculant/base/error.h"
#include "osculant/base/text.h"
#include "osculant/curvature/penalty_parts.h"
#include "osculant/curvature/regularizers.h"
#include "osculant/linop/vector_space.h"

namespace osculant {

using penalty_parts::sum_of_squares;

void GradientPenaltyOptions::check() const {
  penalty_parts::check_common(strength, parameters);
}

void GradientLowRankOptions::check() const {
  penalty_parts::check_common(strength, parameters);
  require_at_least("rank", static_cast<double>(rank), 1);
}

namespace {

class OfGradient : public DataRegularizer {
 public:
  explicit OfGradient(GradientPenaltyOptions options) : options_(std::move(options)) {}
  Feature feature() const override { return Feature::gradient; }

 protected:
  Tensor chosen(const ParameterLayout& layout, const Tensor& u) const {
    return penalty_parts::chosen(layout, options_.parameters, u);
  }
  GradientPenaltyOptions options_;
};

class GradientNorm : public OfGradient {
 public:
  using OfGradient::OfGradient;
  std::string name() const override { return "gradient_norm"; }

  double outer(const ParameterLayout& layout, const Tensor& u) const override {
    return options_.strength * std::sqrt(sum_of_squares(chosen(layout, u)));
  }
  Tensor outer_gradient(const ParameterLayout& layout, const Tensor& u) const override {
    return unit(layout, u).mul_(options_.strength);
  }
  // (I - e e') du / norm(u), e = u / norm(u)
  Tensor outer_hessian_product(const ParameterLayout& layout, const Tensor& u,
                               const Tensor& du) const override {
    Tensor e = unit(layout, u), d = chosen(layout, du);
    double norm = std::sqrt(sum_of_squares(chosen(layout, u)));
    if (norm == 0) return {};
    return (d - e * (e * d).sum()) * (options_.strength / norm);
  }

 private:
  Tensor unit(const ParameterLayout& layout, const Tensor& u) const {
    Tensor g = chosen(layout, u);
    double norm = std::sqrt(sum_of_squares(g));
    return norm == 0 ? at::zeros_like(g) : g / norm;
  }
};

class SquaredGradientNorm : public OfGradient {
 public:
  using OfGradient::OfGradient;
  std::string name() const override { return "squared_gradient_norm"; }

  double outer(const ParameterLayout& layout, const Tensor& u) const override {
    return options_.strength / 2 * sum_of_squares(chosen(layout, u));
  }
  Tensor outer_gradient(const ParameterLayout& layout, const Tensor& u) const override {
    return chosen(layout, u) * options_.strength;
  }
  Tensor outer_hessian_product(const ParameterLayout& layout, const Tensor&,
                               const Tensor& du) const override {
    return chosen(layout, du) * options_.strength;
  }
};

// For a gradient matrix A = sum s_i u_i v_i': R = sum over i > k of s_i^2, dR/dA = 2 (A - A_k).
class GradientLowRank : public DataRegularizer {
 public:
  explicit GradientLowRank(GradientLowRankOptions options) : options_(std::move(options)) {}
  std::string name() const override { return "gradient_low_rank"; }
  Feature feature() const override { return Feature::gradient; }

  double outer(const ParameterLayout& layout, const Tensor& u) const override {
    double energy = 0;
    for_each_matrix(layout, [&](size_t, int64_t k, const Matrix& part) {
      Tensor s = at::linalg_svdvals(part(u)).to(at::kDouble);
      energy += s.narrow(0, k, s.size(0) - k).square().sum().item<double>();
    });
    return options_.strength * energy;
  }

  Tensor outer_gradient(const ParameterLayout& layout, const Tensor& u) const override {
    return for_each_gradient(layout, [&](int64_t k, const Matrix& part) {
      auto [U, s, Vh] = at::linalg_svd(part(u), /*full_matrices=*/false);
      int64_t rest = s.size(0) - k;
      return (U.narrow(1, k, rest) * s.narrow(0, k, rest)).mm(Vh.narrow(0, k, rest));
    });
  }

  // A_k = A P with P = V_k V_k' along the shorter side: dA_k = dA P + A dP, where for i <= k < j
  // v_i' dP v_j = v_i' (dA'A + A'dA) v_j / (s_i^2 - s_j^2). Where the gap closes R has no second derivative,
  // and P is taken as fixed there.
  Tensor outer_hessian_product(const ParameterLayout& layout, const Tensor& u,
                               const Tensor& du) const override {
    return for_each_gradient(layout, [&](int64_t k, const Matrix& part) {
      Tensor A = part(u), dA = part(du);
      bool wide = A.size(0) < A.size(1);
      if (wide) std::tie(A, dA) = std::pair(A.t(), dA.t());
      Tensor s, Vh;
      std::tie(std::ignore, s, Vh) = at::linalg_svd(A, /*full_matrices=*/false);
      int64_t rest = s.size(0) - k;
      Tensor top = Vh.narrow(0, 0, k), below = Vh.narrow(0, k, rest);
      Tensor gap = s.narrow(0, 0, k).square().unsqueeze(1) - s.narrow(0, k, rest).square();
      double u_ = VectorSpace(1, A.options()).epsilon();
      Tensor X = top.mm(dA.t().mm(A.mm(below.t())) + A.t().mm(dA.mm(below.t())));
      X = at::where(gap > 10 * u_ * s[0].square(), X / gap, 0);
      Tensor dP = top.t().mm(X).mm(below);
      Tensor product = dA - dA.mm(top.t()).mm(top) - A.mm(dP + dP.t());
      return wide ? product.t() : product;
    });
  }

 private:
  using Matrix = std::function<Tensor(const Tensor& rows)>;  // of a [1, n] the matrix in question

  template <class Visit>
  void for_each_matrix(const ParameterLayout& layout, Visit visit) const {
    bool any = false;
    for (size_t i = 0; i < layout.parameters().size(); ++i) {
      const auto& p = layout.parameters()[i];
      if (p.shape.size() < 2 || !glob_match(options_.parameters, p.name)) continue;
      any = true;
      int64_t smaller = std::min(p.shape[0], p.size / p.shape[0]);
      if (smaller <= options_.rank) continue;
      visit(i, options_.rank, [&](const Tensor& rows) {
        return rows[0].narrow(0, p.offset, p.size).view({p.shape[0], -1});
      });
    }
    if (!any)
      fail_usage(fmt::format("regulariser gradient_low_rank: parameters = \"{}\": matches no matrix",
                             options_.parameters));
  }

  // 2 strength times what `of_matrix` says of each, [1, n].
  template <class Function>
  Tensor for_each_gradient(const ParameterLayout& layout, Function of_matrix) const {
    std::vector<Tensor> parts(layout.parameters().size());
    for_each_matrix(layout, [&](size_t i, int64_t k, const Matrix& part) {
      parts[i] = of_matrix(k, part).reshape(layout.parameters()[i].shape);
    });
    return layout.flatten(parts).mul_(2 * options_.strength).unsqueeze(0);
  }

  GradientLowRankOptions options_;
};

}  // namespace

namespace regularizers {

RegularizerPtr gradient_norm(const GradientPenaltyOptions& options) {
  options.check();
  return std::make_shared<GradientNorm>(options);
}
RegularizerPtr squared_gradient_norm(const GradientPenaltyOptions& options) {
  options.check();
  return std::make_shared<SquaredGradientNorm>(options);
}
RegularizerPtr gradient_low_rank(const GradientLowRankOptions& options) {
  options.check();
  return std::make_shared<GradientLowRank>(options);
}

}  // namespace regularizers
}  // namespace osculant
