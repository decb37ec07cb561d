#include "osculant/optim/directions/newton.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "osculant/base/cost.h"
#include "osculant/base/error.h"
#include "osculant/base/text.h"
#include "osculant/curvature/example_gradients.h"
#include "osculant/optim/directions/newton_parts.h"

namespace osculant {

namespace {

constexpr int64_t largest_dense = 5000;
constexpr double smallest_share = 1e-3;  // of R's entries against the largest

}  // namespace

void NewtonOptions::check() const {
  damping.check();
  require_non_negative("epsilon", epsilon);
  require_between("cutoff", cutoff, 0, 1);
  require_at_least("rank", static_cast<double>(rank), 1);
}

void visit(OptionVisitor& v, NewtonOptions& o) {
  v.choice<NewtonInverse>("inverse", o.inverse,
                          {{"absolute", NewtonInverse::absolute},
                           {"damped", NewtonInverse::damped},
                           {"regularised", NewtonInverse::regularised},
                           {"corrected", NewtonInverse::corrected},
                           {"pseudo", NewtonInverse::pseudo}},
                          "1/(abs(l) + delta), 1/(l + delta), of H + delta R, 1/abs(l) + epsilon, or 1/l");
  visit(v, o.damping);
  v.choice<NewtonDamping>("damping_scale", o.scale,
                          {{"plain", NewtonDamping::plain}, {"gradient_norm", NewtonDamping::gradient_norm}},
                          "delta is lambda, or lambda sqrt(norm(g))");
  v.choice<NewtonRegularizer>(
      "regularizer", o.regularizer,
      {{"identity", NewtonRegularizer::identity},
       {"gauss_newton", NewtonRegularizer::gauss_newton},
       {"empirical_fisher", NewtonRegularizer::empirical_fisher},
       {"true_fisher", NewtonRegularizer::true_fisher},
       {"low_rank_diagonal", NewtonRegularizer::low_rank_diagonal}},
      "R of inverse = regularised: I, the diagonal of G, mean squared gradients at the "
      "targets or at the network's own, or eigenpairs of G and a diagonal");
  v.integer("rank", o.rank, ">= 1", "eigenpairs of G in R = low_rank_diagonal");
  v.number("epsilon", o.epsilon, ">= 0", "of inverse = corrected: added to the inverse in every direction");
  v.number("cutoff", o.cutoff, "in [0, 1]",
           "eigenvalues below this share of the largest are not inverted; 0: rounding");
}

Tensor empirical_fisher_diagonal(const Objective& objective) {
  if (!objective.has_outputs()) fail_usage("empirical Fisher: needs outputs and a loss");
  Tensor sum = at::zeros_like(objective.layout().theta(), at::kDouble);
  visit_example_gradients(objective,
                          [&](int64_t, const Tensor& G) { sum += G.to(at::kDouble).square().sum(0); });
  return sum / static_cast<double>(std::max<int64_t>(objective.examples(), 1));
}

Tensor true_fisher_diagonal(Linearization& linearization) {
  for (const auto& term : linearization.objective().terms()) {
    if (!term.loss->likelihood())
      fail_usage(
          fmt::format("true Fisher: the loss {} is the negative log likelihood of no distribution "
                      "that targets could be drawn from",
                      term.loss.name()));
  }
  Tensor sum = at::zeros_like(linearization.objective().layout().theta(), at::kDouble);
  linearization.gauss_newton_root(
      [&](const Tensor& A, const Tensor&) { sum += A.to(at::kDouble).square().sum(0); });
  return sum;
}

namespace {

// R as what divides by its root L, R = L L': L a diagonal [n], or lower triangular [n, n].
struct Root {
  Tensor L;
  bool diagonal() const { return L.dim() == 1; }
  Tensor solve(const Tensor& X) const {  // L^-1 X
    if (diagonal()) return X.dim() == 1 ? X / L : X / L.unsqueeze(1);
    auto columns = at::linalg_solve_triangular(L, X.dim() == 1 ? X.unsqueeze(1) : X, /*upper=*/false);
    return X.dim() == 1 ? columns.squeeze(1) : columns;
  }
  Tensor solve_transposed(const Tensor& x) const {  // L^-T x
    if (diagonal()) return x / L;
    return at::linalg_solve_triangular(L.t(), x.unsqueeze(1), /*upper=*/true).squeeze(1);
  }
};

// d with entries below a share of `largest` raised to that; ones where that is 0.
Tensor raised(const Tensor& d, double largest) {
  return largest > 0 ? d.clamp_min(smallest_share * largest) : at::ones_like(d);
}

// V diag(l) V' + D: l the `rank` largest eigenvalues of G, D the diagonal of G - V diag(l) V'.
Tensor low_rank_and_diagonal(const Tensor& G, int64_t rank) {
  auto [l, V] = at::linalg_eigh(G);
  int64_t n = l.numel(), k = std::min(rank, n);
  l = l.narrow(0, n - k, k).clamp_min(0);
  V = V.narrow(1, n - k, k);
  Tensor dominant = (V * l).mm(V.t());
  Tensor rest = G.diagonal() - dominant.diagonal();
  return dominant + at::diag(raised(rest, l[k - 1].item<double>()));
}

class Newton : public Direction {
 public:
  Newton(const NewtonOptions& options, int64_t n) : options_(options) {
    if (n > largest_dense)
      fail(
          ErrorKind::memory,
          fmt::format("newton: the Hessian of {} parameters would be a dense {} x {} matrix, the most is {}; "
                      "newton_cg, trust_region and cubic_newton form none",
                      n, n, n, largest_dense));
  }

  Needs needs() const override {
    return {
        .gradient = true,
        .hessian = true,
        .gauss_newton = wants(NewtonRegularizer::gauss_newton) || wants(NewtonRegularizer::low_rank_diagonal),
        .jacobian = wants(NewtonRegularizer::true_fisher)};
  }

  // L^-1 H L^-T = V diag(l) V' with L L' = R.
  void prepare(const StepContext& context) override {
    failure_.clear();
    vectors_.reset();
    auto hessian = hessian_of(context);
    Tensor H = dense(hessian, largest_dense).matrix.to(at::kDouble);
    products_ = hessian.products();
    if (!at::isfinite(H).all().item<bool>()) {
      failure_ = "the Hessian is not finite";
      return;
    }
    try {
      root_ = regularizer_root(context);
      H = root_.solve(root_.solve(H).t());
      std::tie(values_, vectors_) = at::linalg_eigh(H);
    } catch (const c10::LinAlgError&) {
      failure_ = "the eigendecomposition of the Hessian, or the root of R, was not found";
      return;
    }
    double share =
        options_.cutoff > 0 ? options_.cutoff : static_cast<double>(H.size(0)) * hessian.domain().epsilon();
    tau_ = share * values_.abs().max().item<double>();
  }

  Step propose(const StepContext& context, const Damping& damping) override {
    Step step;
    step.note = failure_;
    step.solver_iterations = std::exchange(products_, 0);
    if (!vectors_.defined()) return step;
    Tensor c = project(context.gradient), y = -inverse(delta(context.gradient, damping)) * c;
    if (options_.inverse == NewtonInverse::pseudo && !(c.dot(y).item<double>() < 0)) {
      y = -reciprocal(values_.abs(), values_.abs() > tau_) * c;
      step.note = "Newton's step does not descend: absolute eigenvalues taken";
    }
    step.displacement = lift(y).to(context.gradient.scalar_type());
    step.slope = c.dot(y).item<double>();
    step.predicted_change = step.slope + (values_ * y * y).sum().item<double>() / 2;
    double lowest = values_[0].item<double>();
    if (lowest < -tau_ && step.note.empty())
      step.note = fmt::format("negative curvature {}", format_number(lowest));
    return step;
  }

  Tensor step_for(const StepContext&, const Tensor& gradient, const Damping& damping) override {
    if (!vectors_.defined()) return {};
    return lift(-inverse(delta(gradient, damping)) * project(gradient)).to(gradient.scalar_type());
  }

 private:
  Tensor project(const Tensor& g) const { return vectors_.t().mv(root_.solve(g.to(at::kDouble))); }
  Tensor lift(const Tensor& y) const { return root_.solve_transposed(vectors_.mv(y)); }

  double delta(const Tensor& g, const Damping& damping) const {
    if (options_.scale == NewtonDamping::plain) return damping.value();
    return damping.value() * std::sqrt(VectorSpace(g.numel(), g.options()).norm(g));
  }

  bool wants(NewtonRegularizer which) const {
    return options_.inverse == NewtonInverse::regularised && options_.regularizer == which;
  }

  // L of R = L L', float64.
  Root regularizer_root(const StepContext& context) {
    if (options_.inverse != NewtonInverse::regularised) return {at::ones_like(context.gradient, at::kDouble)};
    switch (options_.regularizer) {
      case NewtonRegularizer::identity:
        return {at::ones_like(context.gradient, at::kDouble)};
      case NewtonRegularizer::gauss_newton:
        return diagonal(gauss_newton(context).diagonal());
      case NewtonRegularizer::empirical_fisher:
        return diagonal(empirical_fisher_diagonal(context.linearization.objective()));
      case NewtonRegularizer::true_fisher:
        return diagonal(true_fisher_diagonal(context.linearization));
      case NewtonRegularizer::low_rank_diagonal:
        return {at::linalg_cholesky(low_rank_and_diagonal(gauss_newton(context), options_.rank))};
    }
    return {};
  }

  static Root diagonal(const Tensor& d) { return {raised(d, d.max().item<double>()).sqrt()}; }

  Tensor gauss_newton(const StepContext& context) {  // dense, float64
    GaussNewton G(std::shared_ptr<Linearization>(std::shared_ptr<void>(), &context.linearization));
    Tensor matrix = dense(G, largest_dense).matrix.to(at::kDouble);
    products_ += G.products();
    return matrix;
  }

  static Tensor reciprocal(const Tensor& l, const Tensor& where) {
    return at::where(where, l.reciprocal(), at::zeros_like(l));
  }

  // f(l)
  Tensor inverse(double delta) const {
    Tensor magnitude = values_.abs();
    switch (options_.inverse) {
      case NewtonInverse::absolute:
        return reciprocal(magnitude + delta, magnitude + delta > tau_);
      case NewtonInverse::damped:
      case NewtonInverse::regularised: {
        Tensor shifted = values_ + (delta + std::max(0.0, -values_[0].item<double>()));
        return reciprocal(shifted, shifted > tau_);
      }
      case NewtonInverse::corrected:
        return reciprocal(magnitude, magnitude > tau_) + options_.epsilon;
      case NewtonInverse::pseudo:
        return reciprocal(values_, magnitude > tau_);
    }
    return {};
  }

  NewtonOptions options_;
  Tensor values_, vectors_;  // l ascending [n], V [n, n], float64
  Root root_;                // of R
  double tau_ = 0;
  int64_t products_ = 0;
  std::string failure_;
};

}  // namespace

std::unique_ptr<Direction> newton_direction(const NewtonOptions& options, int64_t n) {
  options.check();
  return std::make_unique<Newton>(options, n);
}

}  // namespace osculant
