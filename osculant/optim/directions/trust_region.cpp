#include "osculant/optim/directions/trust_region.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "osculant/base/error.h"
#include "osculant/base/text.h"
#include "osculant/io/archive.h"
#include "osculant/optim/directions/newton_parts.h"
#include "osculant/solve/trust_region_cg.h"

namespace osculant {

void TrustRegionOptions::check() const {
  require_positive("radius", radius);
  require_at_least("maximum_radius", maximum_radius, radius);
  require_positive("tolerance", tolerance);
  require_between("tolerance", tolerance, 0, 1);
  require_at_least("cg_iterations", static_cast<double>(cg_iterations), 1);
}

void visit(OptionVisitor& v, TrustRegionOptions& o) {
  v.number("radius", o.radius, "> 0", "of the region at the start; the gain ratio moves it");
  v.number("maximum_radius", o.maximum_radius, ">= radius", "the radius never exceeds it");
  v.number("tolerance", o.tolerance, "in (0, 1]", "relative residual CG is to reach, less near the end");
  v.integer("cg_iterations", o.cg_iterations, ">= 1", "conjugate gradient iterations a step, at most");
}

namespace {

constexpr double smallest_radius = 1e-100;

class TrustRegion : public Direction {
 public:
  explicit TrustRegion(const TrustRegionOptions& options) : options_(options), radius_(options.radius) {}

  Needs needs() const override { return {.gradient = true, .hessian = true}; }
  void prepare(const StepContext&) override {}

  Step propose(const StepContext& context, const Damping&) override {
    const Tensor& g = context.gradient;
    VectorSpace space(g.numel(), g.options());
    auto H = hessian_of(context);
    auto found = trust_region_cg(H, g,
                                 {.radius = radius_,
                                  .max_iterations = options_.cg_iterations,
                                  .relative_tolerance = forcing(options_.tolerance, space.norm(g)),
                                  .progress = until_interrupted});
    Step step;
    step.solver_iterations = found.iterations;
    step.solver_stop = found.message;
    step.interrupted = found.stop == TrustRegionStop::interrupted;
    if (step.interrupted || found.norm == 0) return step;
    step.displacement = found.p;
    step.predicted_change = found.model_change;
    step.slope = space.dot(g, found.p);
    step_norm_ = found.norm;
    on_boundary_ = found.on_boundary();
    if (found.stop == TrustRegionStop::negative_curvature)
      step.note = fmt::format("negative curvature {}", format_number(found.curvature));
    return step;
  }

  void accepted(const StepOutcome& outcome) override {
    if (outcome.rho < 0.25)
      radius_ = 0.25 * step_norm_;
    else if (outcome.rho > 0.75 && on_boundary_)
      radius_ = 2 * radius_;
    radius_ = std::clamp(radius_, smallest_radius, options_.maximum_radius);
  }

  void rejected(const StepOutcome&) override {
    radius_ = std::max(0.25 * std::min(step_norm_, radius_), smallest_radius);
  }

  void save(Archive& archive) const override { archive.put("radius", radius_); }
  void load(const Archive& archive, const ParameterLayout&) override { radius_ = archive.number("radius"); }

 private:
  TrustRegionOptions options_;
  double radius_;
  double step_norm_ = 0;  // of the step proposed last
  bool on_boundary_ = false;
};

}  // namespace

std::unique_ptr<Direction> trust_region_direction(const TrustRegionOptions& options) {
  options.check();
  return std::make_unique<TrustRegion>(options);
}

}  // namespace osculant
