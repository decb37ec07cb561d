#include "osculant/optim/directions/adahessian.h"

#include <ATen/ATen.h>

#include <cmath>

#include "osculant/base/error.h"
#include "osculant/io/archive.h"
#include "osculant/optim/directions/hessian_diagonal.h"

namespace osculant {

void AdahessianOptions::check() const {
  require_positive("learning_rate", learning_rate);
  require_between("beta1", beta1, 0, 1 - 1e-12);
  require_between("beta2", beta2, 0, 1 - 1e-12);
  require_positive("epsilon", epsilon);
  require_between("hessian_power", hessian_power, 0, 1);
  require_non_negative("weight_decay", weight_decay);
  require_at_least("probes", static_cast<double>(probes), 1);
  require_at_least("interval", static_cast<double>(interval), 1);
}

void visit(OptionVisitor& v, AdahessianOptions& o) {
  v.number("learning_rate", o.learning_rate, "> 0", "step length");
  v.number("beta1", o.beta1, "in [0, 1)", "decay of the mean of gradients");
  v.number("beta2", o.beta2, "in [0, 1)", "decay of the mean of squared Hessian diagonals");
  v.number("epsilon", o.epsilon, "> 0", "added to the root of that mean, to the power");
  v.number("hessian_power", o.hessian_power, "in [0, 1]", "of that root; 0: momentum alone");
  v.number("weight_decay", o.weight_decay, ">= 0",
           "shrinks theta by learning_rate times this a step, more at the first ones");
  v.integer("probes", o.probes, ">= 1", "random signs, a Hessian product each, of an estimate");
  v.integer("interval", o.interval, ">= 1", "steps between estimates");
  v.flag("spatial_averaging", o.spatial_averaging, "a convolution kernel's places share their mean");
}

namespace {

class Adahessian : public Direction {
 public:
  explicit Adahessian(const AdahessianOptions& options) : options_(options) {}

  Needs needs() const override { return {.gradient = true, .hessian = due()}; }

  void prepare(const StepContext& context) override {
    const auto& layout = context.linearization.objective().layout();
    start(layout);
    step_ = {};
    if (due()) estimate(context);
    ++steps_;
    mean_.lerp_(context.gradient, 1 - options_.beta1);
    if (!diagonal_.defined()) return;
    square_.mul_(options_.beta2).addcmul_(diagonal_, diagonal_, 1 - options_.beta2);
    ++estimates_;

    // p = -eta / (1 - b1^t) (m / ((v / (1 - b2^t))^(k/2) + eps) + w theta)
    double k = options_.hessian_power, bias1 = 1 - std::pow(options_.beta1, double(steps_)),
           bias2 = 1 - std::pow(options_.beta2, double(estimates_));
    Tensor root = (square_ / bias2).sqrt_();
    Tensor p = mean_ / (k == 1 ? root : root.pow_(k)).add_(options_.epsilon);
    if (options_.weight_decay > 0) p.add_(layout.theta(), options_.weight_decay);
    step_.displacement = p.mul_(-options_.learning_rate / bias1);
  }

  Step propose(const StepContext&, const Damping&) override { return step_; }

  void save(Archive& archive) const override {
    if (steps_ == 0) return;
    archive.put("mean", mean_.clone());
    archive.put("square", square_.clone());
    if (diagonal_.defined()) archive.put("diagonal", diagonal_.clone());
    archive.put("steps", steps_);
    archive.put("estimates", estimates_);
  }

  void load(const Archive& archive, const ParameterLayout& layout) override {
    if (!archive.contains("mean")) return;
    start(layout);
    mean_ = archive.tensor("mean", mean_).clone();
    square_ = archive.tensor("square", square_).clone();
    if (archive.contains("diagonal")) diagonal_ = archive.tensor("diagonal", mean_).clone();
    steps_ = archive.integer("steps");
    estimates_ = archive.integer("estimates");
  }

 private:
  bool due() const { return !diagonal_.defined() || steps_ % options_.interval == 0; }

  void start(const ParameterLayout& layout) {
    if (mean_.defined()) return;
    mean_ = at::zeros({layout.size()}, layout.options());
    square_ = at::zeros_like(mean_);
  }

  void estimate(const StepContext& context) {
    Tensor diagonal = hutchinson_diagonal(context, options_.probes);
    if (!std::isfinite(diagonal.square().sum().item<double>())) {
      step_.note = "the Hessian's diagonal is not finite, the last one is kept";
      return;
    }
    diagonal_ = diagonal.abs_();
    if (!options_.spatial_averaging) return;
    for (const auto& p : context.linearization.objective().layout().parameters()) {
      if (p.shape.size() < 3) continue;
      Tensor kernels = diagonal_.narrow(0, p.offset, p.size).view({p.shape[0], p.shape[1], -1});
      kernels.copy_(kernels.mean(-1, /*keepdim=*/true).expand_as(kernels));
    }
  }

  AdahessianOptions options_;
  Tensor mean_, square_, diagonal_;  // [n]; the last one undefined until there is one
  int64_t steps_ = 0, estimates_ = 0;
  Step step_;
};

}  // namespace

std::unique_ptr<Direction> adahessian_direction(const AdahessianOptions& options) {
  return std::make_unique<Adahessian>(options);
}

}  // namespace osculant
