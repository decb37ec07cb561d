#include "osculant/optim/directions/levenberg_marquardt.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "osculant/base/error.h"
#include "osculant/base/text.h"
#include "osculant/curvature/gauss_newton_dual.h"
#include "osculant/io/archive.h"
#include "osculant/linop/vector_space.h"
#include "osculant/optim/step_rule.h"

namespace osculant {

void LevenbergMarquardtOptions::check() const {
  damping.check();
  require_between("residual_power", residual_power, 0, 2);
  require_non_negative("acceleration", acceleration);
  require_between("momentum", momentum, 0, 1);
  require_at_least("attempts", static_cast<double>(attempts), 1);
}

namespace {

template <class Options>
void visit_system(OptionVisitor& v, Options& o) {
  v.choice<LmScaling>("scaling", o.scaling,
                      {{"identity", LmScaling::identity}, {"diagonal", LmScaling::diagonal}},
                      "D of the damping: I, or the clamped diagonal of J'J");
  v.choice<LmForm>("form", o.form,
                   {{"auto", LmForm::automatic}, {"primal", LmForm::primal}, {"dual", LmForm::dual}},
                   "solve for parameters (primal), for outputs (dual), or for the fewer of them");
  v.number("momentum", o.momentum, "in [0, 1]", "mu: steps are damped towards mu times the last one");
}

}  // namespace

void visit(OptionVisitor& v, LevenbergMarquardtOptions& o) {
  visit(v, o.damping);
  v.number("residual_power", o.residual_power, "in [0, 2]", "p: delta = lambda (2 loss)^(p/2)");
  visit_system(v, o);
  v.number("acceleration", o.acceleration, ">= 0",
           "second-order corrections up to this share of half the step; 0: none");
  v.integer("attempts", o.attempts, ">= 1", "dampings tried a step");
}

void GaussNewtonOptions::check() const {
  require_positive("learning_rate", learning_rate);
  require_positive("damping", damping);
  require_between("momentum", momentum, 0, 1);
}

void visit(OptionVisitor& v, GaussNewtonOptions& o) {
  v.number("learning_rate", o.learning_rate, "> 0", "step length");
  v.number("damping", o.damping, "> 0", "delta");
  visit_system(v, o);
}

namespace {

constexpr double smallest_share = 1e-6;  // of D's largest entry
constexpr int64_t most_raises = 40;
constexpr double look_ahead = 0.1;  // h of the difference for z''

class LevenbergMarquardt : public Direction {
 public:
  // `at_rate`: steps are scaled by a rate, which what is carried over knows nothing of.
  explicit LevenbergMarquardt(const LevenbergMarquardtOptions& options, bool at_rate = false)
      : options_(options), at_rate_(at_rate) {}

  Needs needs() const override { return {.gradient = true, .jacobian = true}; }

  void prepare(const StepContext& context) override {
    auto& linearization = context.linearization;
    dual_ = takes_dual(linearization);
    if (dual_)
      form_dual(linearization);
    else
      form_primal(linearization);
    value_ = linearization.value();
  }

  Step propose(const StepContext& context, const Damping& damping) override {
    const Tensor &g = context.linearization.gradient(), &followed = context.gradient;
    VectorSpace space(g.numel(), g.options());
    // The step is linear in the gradient, and a clipped gradient is a share of it.
    double share = followed.is_same(g) ? 1 : space.dot(followed, g) / space.dot(g, g);
    Step step;
    double delta = damping_of(damping);
    int64_t raises = factorise(delta);
    if (raises > most_raises) {
      step.note = fmt::format("no Cholesky factorisation up to delta = {:.3g}", delta);
      return step;
    }
    if (raises > 0)
      step.note = fmt::format("delta raised to {:.3g}: Cholesky failed {} times", delta, raises);
    Tensor right = followed, residual = dual_ ? residual_ * share : Tensor(), carried;
    if (last_.defined()) {
      carried = options_.momentum * last_;
      right = followed + curvature_product(carried);
      if (dual_) residual = residual + product(carried);
    }
    Tensor q = solve(right, residual, delta), p = carried.defined() ? carried + q : q;
    step.displacement = proposed_ = p;
    step.slope = space.dot(followed, p);
    // (B + delta D) q = -g - B (p - q): g'p + p'Bp/2 = (g'p - delta p'Dq) / 2.
    double damped = space.dot(p * scale_, q);
    step.predicted_change = (step.slope - delta * damped) / 2;
    bool bends = options_.acceleration > 0 && options_.damping.rule != DampingRule::fixed;
    if (bends && context.trials && tells_bends(delta)) accelerate(step.displacement, context, delta);
    return step;
  }

  void accepted(const StepOutcome& outcome) override {
    if (options_.momentum > 0) last_ = at_rate_ ? proposed_ : outcome.displacement;
  }

  // More damping leads to mu s instead of to 0, so what is carried over may itself be what is refused.
  void rejected(const StepOutcome&) override {
    if (!at_rate_) last_ = Tensor();
  }

  void save(Archive& archive) const override {
    if (last_.defined()) archive.put("last", last_);
  }
  void load(const Archive& archive, const ParameterLayout& layout) override {
    last_ = archive.contains("last") ? archive.tensor("last", layout.theta()) : Tensor();
  }

  Tensor step_for(const StepContext&, const Tensor& gradient, const Damping& damping) override {
    double delta = damping_of(damping);
    if (factorise(delta) > most_raises) return {};
    return solve(gradient, dual_ ? at::zeros_like(residual_) : Tensor(), delta);
  }

 private:
  // p + q for p, where q is short beside it.
  void accelerate(Tensor& p, const StepContext& context, double delta) const {
    auto& here = context.linearization;
    Tensor moved = here.gauss_newton_difference(context.trials->outputs(here, p, look_ahead));
    Tensor bent =
        (moved - look_ahead * gauss_newton_product(here.objective(), p)) / (look_ahead * look_ahead);
    Tensor q = solve(bent, dual_ ? at::zeros_like(residual_) : Tensor(), delta);
    VectorSpace space(p.numel(), p.options());
    Tensor weights = scale_.sqrt();
    if (2 * space.norm(q * weights) <= options_.acceleration * space.norm(p * weights)) p = p + q;
  }

  // By Woodbury's formula, the dual form solves for what is no J'r with an error of u norm(K) / delta.
  bool tells_bends(double delta) const {
    if (!dual_) return true;
    double u = VectorSpace(1, matrix_.options()).epsilon();
    return 10 * u * matrix_.trace().item<double>() <= delta;
  }

  // B v.
  Tensor curvature_product(const Tensor& v) const {
    return dual_ ? transpose_product(product(v)) : matrix_.mv(v);
  }

  // Of the data terms alone.
  Tensor gauss_newton_product(const Objective& objective, const Tensor& v) const {
    Tensor Gv = curvature_product(v);
    for (const auto& regularizer : objective.regularizers())
      if (Tensor Rv = regularizer->gauss_newton_product(objective.layout(), v); Rv.defined()) Gv -= Rv;
    return Gv;
  }

  double damping_of(const Damping& damping) const {
    double p = options_.residual_power;
    return p > 0 ? damping.value() * std::pow(2 * std::max(value_, 0.0), p / 2) : damping.value();
  }

  bool takes_dual(Linearization& linearization) const {
    int64_t n = linearization.objective().parameters(), m = linearization.outputs_size();
    bool regularised = !linearization.objective().regularizers().empty();
    if (regularised && options_.form == LmForm::dual)
      fail_usage("form = dual: an objective with regularisers has no dual form; take primal");
    bool dual = options_.form == LmForm::automatic ? m < n && !regularised : options_.form == LmForm::dual;
    if (int64_t size = dual ? m : n; size > largest_dense_jacobian)
      fail(
          ErrorKind::memory,
          fmt::format(
              "levenberg_marquardt: {} parameters, {} outputs: the {} system would be a dense {} x {} matrix "
              "of {}, the most is {} x {}; take smaller batches, or hessian_free",
              n, m, dual ? "dual" : "primal", size, size,
              format_bytes(size * size *
                           static_cast<int64_t>(linearization.objective().layout().theta().element_size())),
              largest_dense_jacobian, largest_dense_jacobian));
    return dual;
  }

  // B = J'J + R.
  void form_primal(Linearization& linearization) {
    const auto& layout = linearization.objective().layout();
    int64_t n = layout.size();
    matrix_ = at::zeros({n, n}, layout.options());
    linearization.gauss_newton_root([&](const Tensor& J, const Tensor&) { matrix_.addmm_(J.t(), J); });
    for (const auto& regularizer : linearization.objective().regularizers()) {
      Tensor R = regularizer->gauss_newton_product(layout, at::eye(n, layout.options()));
      if (R.defined()) matrix_ += R;
    }
    bool scaled = options_.scaling == LmScaling::diagonal;
    scale_ = scaled ? clamped(matrix_.diagonal()) : at::ones({1}, matrix_.options());
  }

  // K = J D^-1 J'. By layers and without J where that is large; those that cannot are asked once.
  void form_dual(Linearization& linearization) {
    layers_.reset();
    if (told_by_layers_ && options_.scaling == LmScaling::identity && large_jacobian(linearization)) {
      const Objective& objective = linearization.objective();
      if (auto dual = gauss_newton_dual(objective)) {
        layers_ = objective;
        jacobian_ = Tensor();
        matrix_ = dual->gram;
        residual_ = dual->residual;
        scale_ = at::ones({1}, matrix_.options());
        return;
      }
      told_by_layers_ = false;
    }
    std::vector<Tensor> rows, residuals;
    linearization.gauss_newton_root([&](const Tensor& J, const Tensor& r) {
      rows.push_back(J);
      residuals.push_back(r);
    });
    jacobian_ = rows.size() == 1 ? rows[0] : at::cat(rows);
    residual_ = residuals.size() == 1 ? residuals[0] : at::cat(residuals);
    bool scaled = options_.scaling == LmScaling::diagonal;
    scale_ = scaled ? clamped(jacobian_.square().sum(0)) : at::ones({1}, jacobian_.options());
    matrix_ = (scaled ? jacobian_ / scale_ : jacobian_).mm(jacobian_.t());
  }

  static bool large_jacobian(Linearization& linearization) {
    constexpr int64_t large = int64_t{32} << 20;
    const Objective& objective = linearization.objective();
    int64_t bytes = linearization.outputs_size() * objective.parameters() *
                    static_cast<int64_t>(objective.layout().theta().element_size());
    return bytes > std::min(large, objective.memory_budget());
  }

  Tensor transpose_product(const Tensor& w) const {
    return layers_ ? root_transpose_product(*layers_, w) : jacobian_.t().mv(w);
  }
  Tensor product(const Tensor& v) const { return layers_ ? root_product(*layers_, v) : jacobian_.mv(v); }

  // No entry below a share of the largest; I where J is zero.
  static Tensor clamped(const Tensor& diagonal) {
    double largest = diagonal.max().item<double>();
    return largest > 0 ? diagonal.clamp_min(smallest_share * largest) : at::ones_like(diagonal);
  }

  // Cholesky of B + delta D, or of K + delta I; raises delta until there is one, and says how often.
  int64_t factorise(double& delta) {
    for (int64_t raises = 0; raises <= most_raises; ++raises) {
      Tensor damped = matrix_.clone();
      if (dual_)
        damped.diagonal().add_(delta);
      else
        damped.diagonal().add_(scale_, delta);
      auto [L, info] = at::linalg_cholesky_ex(damped);
      if (info.item<int32_t>() == 0) {
        factor_ = L;
        return raises;
      }
      double size = matrix_.diagonal().mean().item<double>();
      VectorSpace space(1, matrix_.options());
      delta = std::max(10 * delta, space.epsilon() * size);
      if (!std::isfinite(size)) break;
    }
    return most_raises + 1;
  }

  Tensor by_factor(const Tensor& b) const { return at::cholesky_solve(b.unsqueeze(1), factor_).squeeze(1); }

  // Primal: -(B + delta D)^-1 g. Dual, with g = J'r + h:
  //   -D^-1 (J' (K + delta I)^-1 (r - J D^-1 h / delta) + h / delta)
  Tensor solve(const Tensor& gradient, const Tensor& residual, double delta) const {
    if (!dual_) return by_factor(gradient).neg_();
    Tensor rest = gradient - transpose_product(residual);
    VectorSpace space(gradient.numel(), gradient.options());
    bool whole = space.norm(rest) <= std::sqrt(space.epsilon()) * space.norm(gradient) || delta == 0;
    Tensor right = whole ? residual : residual - product(rest / scale_) / delta;
    Tensor p = transpose_product(by_factor(right));
    if (!whole) p += rest / delta;
    return p.div_(scale_).neg_();
  }

  LevenbergMarquardtOptions options_;
  bool at_rate_;
  Tensor proposed_, last_;  // p, and the last of them that was taken
  bool dual_ = false;
  Tensor matrix_;                    // B [n, n], or K [m, m]
  Tensor scale_;                     // D's diagonal [n], or [1]
  Tensor factor_;                    // L L' = matrix + damping
  Tensor jacobian_;                  // [m, n], of the dual form
  std::optional<Objective> layers_;  // of this step, where the dual form has no Jacobian
  bool told_by_layers_ = true;       // as far as is known
  Tensor residual_;                  // [m], of the dual form
  double value_ = 0;
};

}  // namespace

std::unique_ptr<Direction> levenberg_marquardt_direction(const LevenbergMarquardtOptions& options) {
  options.check();
  return std::make_unique<LevenbergMarquardt>(options);
}

std::unique_ptr<Direction> gauss_newton_direction(const GaussNewtonOptions& options) {
  options.check();
  LevenbergMarquardtOptions same{.damping = {.rule = DampingRule::fixed, .initial = options.damping},
                                 .scaling = options.scaling,
                                 .form = options.form,
                                 .acceleration = 0,
                                 .momentum = options.momentum};
  return std::make_unique<LevenbergMarquardt>(same, /*at_rate=*/true);
}

}  // namespace osculant
