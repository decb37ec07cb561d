#include "osculant/optim/directions/newton_cg.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "osculant/base/error.h"
#include "osculant/base/text.h"
#include "osculant/io/archive.h"
#include "osculant/optim/directions/newton_parts.h"
#include "osculant/solve/capped_cg.h"
#include "osculant/spectrum/minimum_eigenvalue.h"

namespace osculant {

void NewtonCgOptions::check() const {
  require_positive("epsilon", epsilon);
  require_positive("tolerance", tolerance);
  if (!(tolerance < 1)) fail_option("tolerance", fmt::format("{}", tolerance), "< 1");
  require_at_least("cg_iterations", static_cast<double>(cg_iterations), 1);
  require_non_negative("gradient_tolerance", gradient_tolerance);
  require_positive("failure_probability", failure_probability);
  require_between("failure_probability", failure_probability, 0, 1);
}

void visit(OptionVisitor& v, NewtonCgOptions& o) {
  v.number("epsilon", o.epsilon, "> 0",
           "curvature below minus this is followed, above it damped by twice this");
  v.number("tolerance", o.tolerance, "in (0, 1)", "zeta, of the residual CG is to reach");
  v.integer("cg_iterations", o.cg_iterations, ">= 1", "conjugate gradient iterations a step, at most");
  v.number("gradient_tolerance", o.gradient_tolerance, ">= 0",
           "gradient norm at or below which negative curvature is looked for");
  v.number("failure_probability", o.failure_probability, "in (0, 1]", "of missing it then");
}

namespace {

class NewtonCg : public Direction {
 public:
  explicit NewtonCg(const NewtonCgOptions& options) : options_(options) {}

  Needs needs() const override { return {.gradient = true, .hessian = true}; }
  void prepare(const StepContext&) override {}

  Step propose(const StepContext& context, const Damping&) override {
    const Tensor& g = context.gradient;
    VectorSpace space(g.numel(), g.options());
    double norm = space.norm(g);
    auto H = hessian_of(context);
    Step step;
    if (norm > options_.gradient_tolerance) {
      asked_ = false;
    } else if (!asked_ && (look_for_negative_curvature(H, context, step) || step.interrupted)) {
      return step;
    }
    if (norm == 0) return step;
    auto found = capped_cg(H, g,
                           {.epsilon = std::min(options_.epsilon, std::sqrt(norm)),
                            .tolerance = options_.tolerance,
                            .max_iterations = options_.cg_iterations,
                            .progress = until_interrupted});
    step.solver_iterations += found.iterations;
    step.solver_stop = found.message;
    step.interrupted = found.stop == CappedCgStop::interrupted;
    if (step.interrupted || (found.stop == CappedCgStop::non_finite && found.iterations == 0)) return step;
    if (found.stop == CappedCgStop::negative_curvature) {
      follow(found.d / space.norm(found.d), found.curvature, context, step);
    } else {
      double length = space.norm(found.d);
      step.displacement = found.d;
      step.slope = found.slope;
      step.predicted_change = found.slope + found.curvature * length * length / 2;
    }
    return step;
  }

  void save(Archive& archive) const override { archive.put("asked", asked_); }
  void load(const Archive& archive, const ParameterLayout&) override { asked_ = archive.flag("asked"); }

 private:
  // Along a unit vector v of curvature c < 0: p = -sign(g'v) abs(c) v.
  void follow(const Tensor& v, double curvature, const StepContext& context, Step& step) {
    VectorSpace space(v.numel(), v.options());
    double slope = space.dot(context.gradient, v), length = std::abs(curvature);
    step.displacement = v * (slope > 0 ? -length : length);
    step.slope = -std::abs(slope) * length;
    step.predicted_change = step.slope + curvature * length * length / 2;
    step.note = fmt::format("negative curvature {}", format_number(curvature));
  }

  bool look_for_negative_curvature(const LinearOperator& H, const StepContext& context, Step& step) {
    Tensor before = context.random.state();
    auto seed = static_cast<uint64_t>(context.random.integers(int64_t{1} << 62, {1}).item<int64_t>());
    auto found = minimum_eigenvalue_oracle(H, {.tolerance = options_.epsilon,
                                               .failure_probability = options_.failure_probability,
                                               .seed = seed,
                                               .progress = [](int64_t) { return interrupt_signal() == 0; }});
    step.interrupted = interrupt_signal() != 0;
    if (step.interrupted) {
      context.random.set_state(before);
      return false;
    }
    asked_ = true;
    step.solver_iterations = found.products;
    step.solver_stop = found.message;
    if (found.verdict != MinimumEigenvalueVerdict::negative) {
      step.note = found.message;
      return false;
    }
    follow(found.vector, found.value, context, step);
    return true;
  }

  NewtonCgOptions options_;
  bool asked_ = false;  // for the smallest eigenvalue, since the gradient fell below its tolerance
};

}  // namespace

std::unique_ptr<Direction> newton_cg_direction(const NewtonCgOptions& options) {
  options.check();
  return std::make_unique<NewtonCg>(options);
}

}  // namespace osculant
