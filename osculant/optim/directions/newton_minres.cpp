#include "osculant/optim/directions/newton_minres.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "osculant/base/error.h"
#include "osculant/base/text.h"
#include "osculant/optim/directions/newton_parts.h"
#include "osculant/solve/minres.h"

namespace osculant {

void NewtonMinresOptions::check() const {
  require_positive("tolerance", tolerance);
  require_between("tolerance", tolerance, 0, 1);
  require_at_least("minres_iterations", static_cast<double>(minres_iterations), 1);
}

void visit(OptionVisitor& v, NewtonMinresOptions& o) {
  v.number("tolerance", o.tolerance, "in (0, 1]", "relative residual MINRES is to reach, less near the end");
  v.integer("minres_iterations", o.minres_iterations, ">= 1", "MINRES iterations a step, at most");
  v.flag("refine", o.refine, "solve singular systems to more digits, at twice the products");
}

namespace {

class NewtonMinres : public Direction {
 public:
  explicit NewtonMinres(const NewtonMinresOptions& options) : options_(options) {}

  Needs needs() const override { return {.gradient = true, .hessian = true}; }
  void prepare(const StepContext&) override {}

  Step propose(const StepContext& context, const Damping&) override {
    const Tensor& g = context.gradient;
    VectorSpace space(g.numel(), g.options());
    auto H = hessian_of(context);
    double norm_g = space.norm(g);
    auto found = minres(H, -g,
                        {.max_iterations = options_.minres_iterations,
                         .relative_tolerance = forcing(options_.tolerance, norm_g),
                         .refine = options_.refine,
                         .stop_at_negative_curvature = true,
                         .progress = until_interrupted});
    Step step;
    step.solver_iterations = found.products;
    step.solver_stop = found.message;
    step.interrupted = found.stop == MinresStop::interrupted;
    if (step.interrupted || (found.stop == MinresStop::non_finite && found.iterations == 0)) return step;
    bool negative = found.stop == MinresStop::negative_curvature;
    step.displacement = negative ? found.residual : found.x;
    step.slope = space.dot(g, step.displacement);
    // g'p + p'Hp/2: of r by its curvature, of x by H x = -g - r.
    if (negative) {
      step.predicted_change = step.slope + found.curvature * found.residual_norm * found.residual_norm / 2;
      step.note = fmt::format("negative curvature {}", format_number(found.curvature));
    } else {
      step.predicted_change = (step.slope - space.dot(found.x, found.residual)) / 2;
    }
    return step;
  }

 private:
  NewtonMinresOptions options_;
};

}  // namespace

std::unique_ptr<Direction> newton_minres_direction(const NewtonMinresOptions& options) {
  options.check();
  return std::make_unique<NewtonMinres>(options);
}

}  // namespace osculant
