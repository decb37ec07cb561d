#include "osculant/optim/directions/hessian_free.h"

#include <fmt/format.h>
#include <torch/types.h>

#include "osculant/base/error.h"
#include "osculant/base/interrupt.h"
#include "osculant/io/archive.h"
#include "osculant/linop/operators.h"
#include "osculant/linop/vector_space.h"
#include "osculant/solve/conjugate_gradient.h"

namespace osculant {

void HessianFreeOptions::check() const {
  damping.check();
  require_at_least("cg_iterations", static_cast<double>(cg_iterations), 1);
  require_non_negative("cg_tolerance", cg_tolerance);
  require_between("momentum", momentum, 0, 1);
}

void visit(OptionVisitor& v, HessianFreeOptions& o) {
  visit(v, o.damping);
  v.integer("cg_iterations", o.cg_iterations, ">= 1", "conjugate gradient iterations a step, at most");
  v.number("cg_tolerance", o.cg_tolerance, ">= 0", "relative progress an iteration below which CG stops");
  v.number("momentum", o.momentum, "in [0, 1]", "CG starts at this times its last solution");
  v.flag("backtrack", o.backtrack,
         "backtrack over CG's iterates and along the step; false: accept by gain ratio");
}

namespace {

class HessianFree : public Direction {
 public:
  explicit HessianFree(const HessianFreeOptions& options) : options_(options) {}

  Needs needs() const override { return {.gradient = true, .gauss_newton = true}; }
  void prepare(const StepContext&) override {}

  Step propose(const StepContext& context, const Damping& damping) override {
    const Tensor& g = context.gradient;
    VectorSpace space(g.numel(), g.options());
    auto solution = conjugate_gradient(*damped(context, damping), -g, cg_options());

    Step step;
    step.solver_iterations = solution.iterations;
    step.solver_stop = solution.message;
    step.interrupted = solution.stop == CgStop::interrupted;
    if (step.interrupted) return step;
    if (solution.x.defined() && solution.stop != CgStop::non_finite) previous_ = solution.x;
    if (solution.stop == CgStop::negative_curvature && solution.iterations == 0) return step;
    // phi(x) = x'(G + lambda I)x / 2 + g'x as CG knows it; the model of the objective has no lambda.
    auto undamped = [&](const Tensor& x, double phi) {
      double norm = space.norm(x);
      return phi - damping.value() * norm * norm / 2;
    };
    for (const auto& iterate : solution.iterates)
      if (iterate.iteration < solution.iterations)
        step.earlier.push_back({iterate.x, undamped(iterate.x, iterate.phi)});
    step.displacement = solution.x;
    step.predicted_change = undamped(solution.x, solution.phi);
    step.slope = space.dot(g, solution.x);
    return step;
  }

  Tensor step_for(const StepContext& context, const Tensor& gradient, const Damping& damping) override {
    auto options = cg_options();
    options.initial_guess = Tensor();
    options.keep_iterates = false;
    return conjugate_gradient(*damped(context, damping), -gradient, options).x;
  }

  void save(Archive& archive) const override {
    if (previous_.defined()) archive.put("previous", previous_);
  }
  void load(const Archive& archive, const ParameterLayout& layout) override {
    previous_ = archive.contains("previous") ? archive.tensor("previous", layout.theta()) : Tensor();
  }

 private:
  // G + lambda I.
  static OperatorPtr damped(const StepContext& context, const Damping& damping) {
    VectorSpace space(context.gradient.numel(), context.gradient.options());
    auto product = [&here = context.linearization](const Tensor& V) { return here.gauss_newton_product(V); };
    return shift(function_operator(space, product, "Gauss-Newton"), damping.value());
  }

  CgOptions cg_options() const {
    auto options = CgOptions::martens(options_.cg_iterations);
    options.progress_tolerance = options_.cg_tolerance;
    options.keep_iterates = options_.backtrack;
    if (previous_.defined() && options_.momentum > 0) options.initial_guess = previous_ * options_.momentum;
    options.progress = [](const CgProgress&) { return interrupt_signal() == 0; };
    return options;
  }

  HessianFreeOptions options_;
  Tensor previous_;  // the last solution, where the next solve starts
};

}  // namespace

std::unique_ptr<Direction> hessian_free_direction(const HessianFreeOptions& options) {
  options.check();
  return std::make_unique<HessianFree>(options);
}

}  // namespace osculant
