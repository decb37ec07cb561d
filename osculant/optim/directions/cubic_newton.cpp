#include "osculant/optim/directions/cubic_newton.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "osculant/base/error.h"
#include "osculant/base/text.h"
#include "osculant/io/archive.h"
#include "osculant/optim/directions/newton_parts.h"
#include "osculant/solve/cubic_subproblem.h"

namespace osculant {

void CubicNewtonOptions::check() const {
  require_positive("sigma", sigma);
  require_positive("minimum_sigma", minimum_sigma);
  require_at_least("sigma", sigma, minimum_sigma);
  require_positive("tolerance", tolerance);
  require_at_least("krylov_dimension", static_cast<double>(krylov_dimension), 1);
}

void visit(OptionVisitor& v, CubicNewtonOptions& o) {
  v.number("sigma", o.sigma, "> 0", "weight of the cubic term at the start; the gain ratio moves it");
  v.number("minimum_sigma", o.minimum_sigma, "> 0", "sigma never falls below it");
  v.number("tolerance", o.tolerance, "> 0", "of the model's gradient, relative to norm(g) min(1, norm(p))");
  v.integer("krylov_dimension", o.krylov_dimension, ">= 1", "products a step and vectors kept, at most");
}

namespace {

class CubicNewton : public Direction {
 public:
  explicit CubicNewton(const CubicNewtonOptions& options) : options_(options), sigma_(options.sigma) {}

  Needs needs() const override { return {.gradient = true, .hessian = true}; }

  void prepare(const StepContext& context) override {
    problem_.reset();
    H_.emplace(hessian_of(context));
    problem_.emplace(*H_, context.gradient,
                     CubicOptions{.max_iterations = options_.krylov_dimension,
                                  .relative_tolerance = options_.tolerance,
                                  .progress = until_interrupted});
  }

  Step propose(const StepContext& context, const Damping&) override {
    auto found = problem_->solve(sigma_);
    Step step;
    step.solver_iterations = found.iterations;
    step.solver_stop = fmt::format("sigma = {}: {}", format_number(sigma_), found.message);
    step.interrupted = found.stop == CubicStop::interrupted;
    if (step.interrupted || found.norm == 0) return step;
    step.displacement = found.p;
    step.predicted_change = found.model_change;
    step.slope = VectorSpace(found.p.numel(), found.p.options()).dot(context.gradient, found.p);
    if (found.lowest_ritz < 0)
      step.note = fmt::format("negative curvature {}", format_number(found.lowest_ritz));
    return step;
  }

  void accepted(const StepOutcome& outcome) override {
    if (outcome.rho > 0.9) sigma_ = std::max(sigma_ / 2, options_.minimum_sigma);
    if (outcome.rho < 0.1) raise();
    release();
  }
  void rejected(const StepOutcome&) override { raise(); }

  void save(Archive& archive) const override { archive.put("sigma", sigma_); }
  void load(const Archive& archive, const ParameterLayout&) override { sigma_ = archive.number("sigma"); }

 private:
  void raise() { sigma_ = std::min(2 * sigma_, 1e100); }
  void release() {
    problem_.reset();
    H_.reset();
  }

  CubicNewtonOptions options_;
  double sigma_;
  std::optional<Hessian> H_;                // of the point being worked on
  std::optional<CubicSubproblem> problem_;  // refers to H_
};

}  // namespace

std::unique_ptr<Direction> cubic_newton_direction(const CubicNewtonOptions& options) {
  options.check();
  return std::make_unique<CubicNewton>(options);
}

}  // namespace osculant
