#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "osculant/base/error.h"
#include "osculant/base/random.h"
#include "osculant/curvature/curvature.h"
#include "osculant/curvature/penalty_parts.h"
#include "osculant/curvature/regularizers.h"
#include "osculant/io/archive.h"
#include "osculant/linop/operators.h"
#include "osculant/objective/weight_decay.h"
#include "osculant/spectrum/subspace.h"

namespace osculant {
namespace penalty_parts {

void check_common(double strength, const std::string& parameters) {
  require_non_negative("strength", strength);
  if (parameters.empty()) fail_option("parameters", "\"\"", "a name with * and ?");
}

Tensor mask_of(const ParameterLayout& layout, const std::string& parameters) {
  if (parameters == "*") return {};
  Tensor mask = per_coordinate(layout, {{parameters, 1}}, 0);
  return mask.all().item<bool>() ? Tensor() : mask;
}

Tensor chosen(const ParameterLayout& layout, const std::string& parameters, const Tensor& rows) {
  Tensor mask = mask_of(layout, parameters);
  return mask.defined() ? rows * mask : rows;
}

double sum_of_squares(const Tensor& u) {
  return u.to(at::kDouble).square().sum().item<double>();
}

}  // namespace penalty_parts

namespace {

using penalty_parts::sum_of_squares;

// u_j = B p_j on some of the parameters. p_j are what a counter and the seed say, or carried along.
class OfMatrix : public DataRegularizer {
 public:
  struct Common {
    double strength;
    std::string parameters;
    PenaltyMatrix matrix;
    uint64_t seed;
  };
  explicit OfMatrix(Common common) : common_(std::move(common)) {}

  Feature feature() const override {
    return common_.matrix == PenaltyMatrix::hessian ? Feature::hessian : Feature::gauss_newton;
  }
  Tensor directions(const ParameterLayout& layout) const override {
    return drawn_.defined() ? drawn_ : draw(layout);
  }

  std::shared_ptr<const Regularizer> advanced(const Objective& on) const override {
    auto next = copy();
    next->turn(on);
    ++next->draws_;
    next->drawn_ = next->draw(on.layout());
    return next;
  }
  void save(Archive& archive) const override { archive.put("draws", draws_); }
  std::shared_ptr<const Regularizer> loaded(const Archive& archive,
                                            const ParameterLayout& layout) const override {
    auto next = copy();
    next->draws_ = archive.integer("draws");
    next->read(archive, layout);
    next->drawn_ = next->draw(layout);
    return next;
  }

 protected:
  virtual std::shared_ptr<OfMatrix> copy() const = 0;
  virtual Tensor draw(const ParameterLayout& layout) const = 0;
  virtual void turn(const Objective&) {}
  virtual void read(const Archive&, const ParameterLayout&) {}

  RandomStream random() const { return {common_.seed, fmt::format("{} {}", name(), draws_)}; }
  Tensor chosen(const ParameterLayout& layout, const Tensor& rows) const {
    return penalty_parts::chosen(layout, common_.parameters, rows);
  }
  Tensor signs(const ParameterLayout& layout, int64_t probes) const {
    return chosen(layout, random().rademacher({probes, layout.size()}, layout.options()));
  }
  // Normal vectors, rows [k, n], that something carried along starts from.
  Tensor start(const ParameterLayout& layout, int64_t k) const {
    RandomStream random(common_.seed, fmt::format("{} start", name()));
    return chosen(layout, random.normal({k, layout.size()}, layout.options()));
  }

  // The principal submatrix of B at theta, with zeros around it, of the data terms.
  OperatorPtr matrix_on(const Objective& on) const {
    Objective data = on.without_regularizers();
    OperatorPtr B;
    if (common_.matrix == PenaltyMatrix::hessian)
      B = std::make_shared<Hessian>(data);
    else
      B = std::make_shared<GaussNewton>(data);
    Tensor mask = penalty_parts::mask_of(on.layout(), common_.parameters);
    if (!mask.defined()) return B;
    auto restricted = [B, rows = mask.unsqueeze(1)](const Tensor& X) { return rows * B->apply(rows * X); };
    return function_operator(parameter_space(on), restricted, B->name());
  }

  Common common_;
  int64_t draws_ = 0;

 private:
  Tensor drawn_;  // [m, n]
};

template <class Options>
OfMatrix::Common common_of(const Options& o) {
  return {o.strength, o.parameters, o.matrix, o.seed};
}

class Trace : public OfMatrix {
 public:
  explicit Trace(const ProbePenaltyOptions& options)
      : OfMatrix(common_of(options)), probes_(options.probes) {}
  std::string name() const override { return "trace"; }

  double outer(const ParameterLayout& layout, const Tensor& u) const override {
    Tensor products = directions(layout).to(at::kDouble) * u.to(at::kDouble);
    return share() * products.sum().item<double>();
  }
  Tensor outer_gradient(const ParameterLayout& layout, const Tensor&) const override {
    return directions(layout) * share();
  }

 protected:
  std::shared_ptr<OfMatrix> copy() const override { return std::make_shared<Trace>(*this); }
  Tensor draw(const ParameterLayout& layout) const override { return signs(layout, probes_); }

 private:
  double share() const { return common_.strength / static_cast<double>(probes_); }
  int64_t probes_;
};

// strength times the mean over rows of norm(u_j)^2.
class MeanSquare : public OfMatrix {
 public:
  MeanSquare(Common common, int64_t probes) : OfMatrix(std::move(common)), probes_(probes) {}

  double outer(const ParameterLayout& layout, const Tensor& u) const override {
    return share() * sum_of_squares(chosen(layout, u));
  }
  Tensor outer_gradient(const ParameterLayout& layout, const Tensor& u) const override {
    return chosen(layout, u) * (2 * share());
  }
  Tensor outer_hessian_product(const ParameterLayout& layout, const Tensor&,
                               const Tensor& du) const override {
    return chosen(layout, du) * (2 * share());
  }

 protected:
  double share() const { return common_.strength / static_cast<double>(probes_); }
  int64_t probes_;
};

class Frobenius : public MeanSquare {
 public:
  explicit Frobenius(const ProbePenaltyOptions& options) : MeanSquare(common_of(options), options.probes) {}
  std::string name() const override { return "frobenius"; }

 protected:
  std::shared_ptr<OfMatrix> copy() const override { return std::make_shared<Frobenius>(*this); }
  Tensor draw(const ParameterLayout& layout) const override { return signs(layout, probes_); }
};

class TailEnergy : public MeanSquare {
 public:
  explicit TailEnergy(const TailEnergyOptions& options)
      : MeanSquare(common_of(options), options.probes), rank_(options.rank), refresh_(options.refresh) {}
  std::string name() const override { return "tail_energy"; }

  void save(Archive& archive) const override {
    OfMatrix::save(archive);
    if (V_.defined()) archive.put("V", V_.t().clone());
  }

 protected:
  std::shared_ptr<OfMatrix> copy() const override { return std::make_shared<TailEnergy>(*this); }

  // Q z = z - V V'z
  Tensor draw(const ParameterLayout& layout) const override {
    Tensor z = signs(layout, probes_);
    return V_.defined() ? z - z.mm(V_).mm(V_.t()) : z;
  }

  void turn(const Objective& on) override {
    if (draws_ % refresh_ != 0) return;
    auto B = matrix_on(on);
    int64_t times = V_.defined() ? 1 : first_refreshes;
    Tensor V = V_.defined() ? V_ : start(on.layout(), std::min(rank_, dimension(on.layout()))).t();
    for (int64_t i = 0; i < times; ++i) {
      auto subspace = refresh_subspace(*B, V);
      if (!subspace.finite) return;
      V = subspace.next;
    }
    V_ = V;
  }

  void read(const Archive& archive, const ParameterLayout& layout) override {
    V_ = archive.contains("V") ? archive.tensor("V").to(layout.options()).t() : Tensor();
  }

 private:
  static constexpr int64_t first_refreshes = 5;

  int64_t dimension(const ParameterLayout& layout) const {
    return layout.indices({common_.parameters}).numel();
  }

  int64_t rank_, refresh_;
  Tensor V_;  // [n, k]
};

class Spectral : public OfMatrix {
 public:
  explicit Spectral(const SpectralPenaltyOptions& options)
      : OfMatrix(common_of(options)), iterations_(options.iterations) {}
  std::string name() const override { return "spectral"; }

  double outer(const ParameterLayout& layout, const Tensor& u) const override {
    return common_.strength * std::abs(quotient(layout, u));
  }
  Tensor outer_gradient(const ParameterLayout& layout, const Tensor& u) const override {
    double sign = quotient(layout, u) < 0 ? -1 : 1;
    return directions(layout) * (sign * common_.strength);
  }

  void save(Archive& archive) const override {
    OfMatrix::save(archive);
    if (v_.defined()) archive.put("v", v_.clone());
  }

 protected:
  std::shared_ptr<OfMatrix> copy() const override { return std::make_shared<Spectral>(*this); }
  Tensor draw(const ParameterLayout& layout) const override { return here(layout).unsqueeze(0); }

  // v <- B v / norm(B v); where B v is 0 or not finite v stays.
  void turn(const Objective& on) override {
    int64_t times = v_.defined() ? iterations_ : first_iterations;
    v_ = here(on.layout());
    auto B = matrix_on(on);
    for (int64_t i = 0; i < times; ++i) {
      Tensor Bv = B->apply(v_);
      double norm = B->range().norm(Bv);
      if (!(norm > 0) || !std::isfinite(norm)) return;
      v_ = Bv / norm;
    }
  }

  void read(const Archive& archive, const ParameterLayout& layout) override {
    v_ = archive.contains("v") ? archive.tensor("v", layout.theta()) : Tensor();
  }

 private:
  static constexpr int64_t first_iterations = 20;

  Tensor here(const ParameterLayout& layout) const {
    if (v_.defined()) return v_;
    Tensor v = start(layout, 1)[0];
    return v / VectorSpace(v.numel(), v.options()).norm(v);
  }
  double quotient(const ParameterLayout& layout, const Tensor& u) const {
    return VectorSpace(layout.size(), layout.options()).dot(here(layout), u[0]);
  }

  int64_t iterations_;
  Tensor v_;  // [n], of norm 1
};

class ColumnSparsity : public OfMatrix {
 public:
  explicit ColumnSparsity(const ColumnSparsityOptions& options)
      : OfMatrix(common_of(options)), columns_(options.columns), width_(options.width) {}
  std::string name() const override { return "column_sparsity"; }

  double outer(const ParameterLayout& layout, const Tensor& u) const override {
    Tensor x = chosen(layout, u).to(at::kDouble).abs();
    Tensor s = at::where(x < width_, x.square() / (2 * width_), x - width_ / 2);
    return share(layout) * s.sum().item<double>();
  }
  Tensor outer_gradient(const ParameterLayout& layout, const Tensor& u) const override {
    return (chosen(layout, u) / width_).clamp_(-1, 1).mul_(share(layout));
  }
  Tensor outer_hessian_product(const ParameterLayout& layout, const Tensor& u,
                               const Tensor& du) const override {
    return chosen(layout, du) * (u.abs() < width_) * (share(layout) / width_);
  }

 protected:
  std::shared_ptr<OfMatrix> copy() const override { return std::make_shared<ColumnSparsity>(*this); }

  Tensor draw(const ParameterLayout& layout) const override {
    Tensor among = layout.indices({common_.parameters}).cpu();
    Tensor j = among.index_select(0, random().integers(among.numel(), {columns_}));
    Tensor e = at::zeros({columns_, layout.size()}, layout.options());
    return e.scatter_(1, j.unsqueeze(1).to(layout.device()), 1);
  }

 private:
  double share(const ParameterLayout& layout) const {
    int64_t entries = columns_ * layout.indices({common_.parameters}).numel();
    return common_.strength / static_cast<double>(entries);
  }

  int64_t columns_;
  double width_;
};

}  // namespace

void ProbePenaltyOptions::check() const {
  penalty_parts::check_common(strength, parameters);
  require_at_least("probes", static_cast<double>(probes), 1);
}

void SpectralPenaltyOptions::check() const {
  penalty_parts::check_common(strength, parameters);
  require_at_least("iterations", static_cast<double>(iterations), 1);
}

void TailEnergyOptions::check() const {
  penalty_parts::check_common(strength, parameters);
  require_at_least("rank", static_cast<double>(rank), 1);
  require_at_least("probes", static_cast<double>(probes), 1);
  require_at_least("refresh", static_cast<double>(refresh), 1);
}

void ColumnSparsityOptions::check() const {
  penalty_parts::check_common(strength, parameters);
  require_at_least("columns", static_cast<double>(columns), 1);
  require_positive("width", width);
}

namespace regularizers {

namespace {

template <class Kind, class Options>
RegularizerPtr checked(const Options& options) {
  options.check();
  return std::make_shared<Kind>(options);
}

}  // namespace

RegularizerPtr trace(const ProbePenaltyOptions& options) {
  return checked<Trace>(options);
}
RegularizerPtr frobenius(const ProbePenaltyOptions& options) {
  return checked<Frobenius>(options);
}
RegularizerPtr spectral(const SpectralPenaltyOptions& options) {
  return checked<Spectral>(options);
}
RegularizerPtr tail_energy(const TailEnergyOptions& options) {
  return checked<TailEnergy>(options);
}
RegularizerPtr column_sparsity(const ColumnSparsityOptions& options) {
  return checked<ColumnSparsity>(options);
}

}  // namespace regularizers
}  // namespace osculant
