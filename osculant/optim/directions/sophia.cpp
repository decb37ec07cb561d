#include "osculant/optim/directions/sophia.h"

#include <ATen/ATen.h>

#include <cmath>

#include "osculant/base/error.h"
#include "osculant/io/archive.h"
#include "osculant/optim/directions/hessian_diagonal.h"

namespace osculant {

void SophiaOptions::check() const {
  require_positive("learning_rate", learning_rate);
  require_between("beta1", beta1, 0, 1 - 1e-12);
  require_between("beta2", beta2, 0, 1 - 1e-12);
  if (gamma) require_positive("gamma", *gamma);
  require_positive("epsilon", epsilon);
  require_non_negative("weight_decay", weight_decay);
  require_at_least("interval", static_cast<double>(interval), 1);
}

void visit(OptionVisitor& v, SophiaOptions& o) {
  v.number("learning_rate", o.learning_rate, "> 0", "the longest step of an entry");
  v.number("beta1", o.beta1, "in [0, 1)", "decay of the mean of gradients");
  v.number("beta2", o.beta2, "in [0, 1)", "decay of the mean of curvature diagonals");
  v.choice<SophiaEstimator>("estimator", o.estimator,
                            {{"hutchinson", SophiaEstimator::hutchinson},
                             {"gauss_newton_bartlett", SophiaEstimator::gauss_newton_bartlett}},
                            "of the Hessian's diagonal from random signs (SophiaH), or of the Gauss-Newton "
                            "matrix's from drawn targets (SophiaG)");
  v.number("gamma", o.gamma, "> 0",
           "what curvature is multiplied by: fewer entries are clipped where it is large; auto: 0.01 for "
           "hutchinson, 0.05 for gauss_newton_bartlett");
  v.number("epsilon", o.epsilon, "> 0", "the least that is divided by");
  v.number("weight_decay", o.weight_decay, ">= 0", "shrinks theta by learning_rate times this a step");
  v.integer("interval", o.interval, ">= 1", "steps between estimates");
}

namespace {

class Sophia : public Direction {
 public:
  explicit Sophia(const SophiaOptions& options) : options_(options) {}

  Needs needs() const override {
    return {.gradient = true, .hessian = due() && options_.estimator == SophiaEstimator::hutchinson};
  }

  void prepare(const StepContext& context) override {
    const auto& layout = context.linearization.objective().layout();
    start(layout);
    step_ = {};
    if (due()) estimate(context);
    ++steps_;
    mean_.lerp_(context.gradient, 1 - options_.beta1);

    // p = -eta (clip(m / max(gamma h, eps), 1) + w theta)
    Tensor p = mean_ / (curvature_ * gamma()).clamp_min_(options_.epsilon);
    p.clamp_(-1, 1);
    if (options_.weight_decay > 0) p.add_(layout.theta(), options_.weight_decay);
    step_.displacement = p.mul_(-options_.learning_rate);
  }

  Step propose(const StepContext&, const Damping&) override { return step_; }

  void save(Archive& archive) const override {
    if (steps_ == 0) return;
    archive.put("mean", mean_.clone());
    archive.put("curvature", curvature_.clone());
    archive.put("steps", steps_);
  }

  void load(const Archive& archive, const ParameterLayout& layout) override {
    if (!archive.contains("mean")) return;
    start(layout);
    mean_ = archive.tensor("mean", mean_).clone();
    curvature_ = archive.tensor("curvature", curvature_).clone();
    steps_ = archive.integer("steps");
  }

 private:
  bool due() const { return steps_ % options_.interval == 0; }

  double gamma() const {
    return options_.gamma.value_or(options_.estimator == SophiaEstimator::hutchinson ? 0.01 : 0.05);
  }

  void start(const ParameterLayout& layout) {
    if (mean_.defined()) return;
    mean_ = at::zeros({layout.size()}, layout.options());
    curvature_ = at::zeros_like(mean_);
  }

  void estimate(const StepContext& context) {
    Tensor diagonal = options_.estimator == SophiaEstimator::hutchinson
                          ? hutchinson_diagonal(context, 1)
                          : gauss_newton_bartlett_diagonal(context);
    if (std::isfinite(diagonal.abs().sum().item<double>()))
      curvature_.lerp_(diagonal, 1 - options_.beta2);
    else
      step_.note = "the curvature's diagonal is not finite, the last one is kept";
  }

  SophiaOptions options_;
  Tensor mean_, curvature_;  // [n]
  int64_t steps_ = 0;
  Step step_;
};

}  // namespace

std::unique_ptr<Direction> sophia_direction(const SophiaOptions& options, const Objective& objective) {
  if (options.estimator == SophiaEstimator::gauss_newton_bartlett)
    require_gauss_newton_bartlett(objective, "sophia: estimator = gauss_newton_bartlett");
  return std::make_unique<Sophia>(options);
}

}  // namespace osculant
