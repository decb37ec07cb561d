#include "osculant/optim/directions/torch_optimizer.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/optim.h>

#include <string>
#include <utility>
#include <vector>

#include "osculant/base/error.h"
#include "osculant/io/archive.h"

namespace osculant {

namespace optim = torch::optim;

void SgdOptions::check() const {
  require_positive("learning_rate", learning_rate);
  require_non_negative("weight_decay", weight_decay);
}

void MomentumOptions::check() const {
  require_positive("learning_rate", learning_rate);
  require_positive("momentum", momentum);
  require_between("momentum", momentum, 0, 1);
  require_non_negative("weight_decay", weight_decay);
}

void visit(OptionVisitor& v, SgdOptions& o) {
  v.number("learning_rate", o.learning_rate, "> 0", "step length");
  v.number("weight_decay", o.weight_decay, ">= 0", "adds this times theta to the gradient");
}

void visit(OptionVisitor& v, MomentumOptions& o) {
  v.number("learning_rate", o.learning_rate, "> 0", "step length");
  v.number("momentum", o.momentum, "in (0, 1]", "share of the last step that is kept");
  v.flag("nesterov", o.nesterov, "Nesterov's form of momentum");
  v.number("weight_decay", o.weight_decay, ">= 0", "adds this times theta to the gradient");
}

namespace {

template <class Options>
void visit_adam(OptionVisitor& v, Options& o, const char* decay) {
  v.number("learning_rate", o.learning_rate, "> 0", "step length");
  v.number("beta1", o.beta1, "in [0, 1)", "decay of the mean of gradients");
  v.number("beta2", o.beta2, "in [0, 1)", "decay of the mean of their squares");
  v.number("epsilon", o.epsilon, ">= 0", "added to the root of the mean square");
  v.number("weight_decay", o.weight_decay, ">= 0", decay);
  v.flag("amsgrad", o.amsgrad, "never let the mean square fall (Reddi et al. 2018)");
}

}  // namespace

void visit(OptionVisitor& v, AdamOptions& o) {
  visit_adam(v, o, "adds this times theta to the gradient");
}
void visit(OptionVisitor& v, AdamWOptions& o) {
  visit_adam(v, o, "shrinks theta by learning_rate times this a step");
}

void visit(OptionVisitor& v, RmspropOptions& o) {
  v.number("learning_rate", o.learning_rate, "> 0", "step length");
  v.number("alpha", o.alpha, "in [0, 1]", "decay of the mean of squared gradients");
  v.number("epsilon", o.epsilon, ">= 0", "added to the root of the mean square");
  v.number("momentum", o.momentum, "in [0, 1]", "share of the last step that is kept");
  v.flag("centered", o.centered, "divide by the variance in place of the mean square");
  v.number("weight_decay", o.weight_decay, ">= 0", "adds this times theta to the gradient");
}

namespace {

template <class Options>
void check_adam(const Options& o) {
  require_positive("learning_rate", o.learning_rate);
  require_between("beta1", o.beta1, 0, 1 - 1e-12);
  require_between("beta2", o.beta2, 0, 1 - 1e-12);
  require_non_negative("epsilon", o.epsilon);
  require_non_negative("weight_decay", o.weight_decay);
}

// A state's tensors and its step count, under the names they have in a checkpoint.
struct Fields {
  std::vector<std::pair<std::string, Tensor*>> tensors;
  int64_t* step = nullptr;
};

template <class State>
requires std::is_same_v<State, optim::AdamParamState> || std::is_same_v<State, optim::AdamWParamState> Fields
fields(State& s) {
  return {
      {{"exp_avg", &s.exp_avg()}, {"exp_avg_sq", &s.exp_avg_sq()}, {"max_exp_avg_sq", &s.max_exp_avg_sq()}},
      &s.step()};
}

Fields fields(optim::SGDParamState& s) {
  return {{{"momentum_buffer", &s.momentum_buffer()}}, nullptr};
}

Fields fields(optim::RMSpropParamState& s) {
  return {{{"square_avg", &s.square_avg()},
           {"momentum_buffer", &s.momentum_buffer()},
           {"grad_avg", &s.grad_avg()}},
          &s.step()};
}

// Runs the optimiser on a copy of theta; the point it arrives at is the step's target. The state moves on
// with prepare, once a point, whether or not the step is taken.
template <class Optimizer, class Options, class State>
class TorchDirection : public Direction {
 public:
  explicit TorchDirection(const Options& options) : options_(options) {}

  Needs needs() const override { return {.gradient = true}; }

  void prepare(const StepContext& context) override {
    const auto& theta = context.linearization.objective().layout().theta();
    start(theta);
    {
      torch::NoGradGuard no_grad;
      point_.copy_(theta);
    }
    point_.mutable_grad() = context.gradient;
    optimizer_->step();
    point_.mutable_grad() = Tensor();
  }

  Step propose(const StepContext& context, const Damping&) override {
    Step step;
    step.target = point_.detach();
    step.displacement = step.target - context.linearization.objective().layout().theta();
    return step;
  }

  void save(Archive& archive) const override {
    if (!optimizer_) return;
    auto found = optimizer_->state().find(point_.unsafeGetTensorImpl());
    if (found == optimizer_->state().end()) return;
    auto f = fields(static_cast<State&>(*found->second));
    for (auto& [name, tensor] : f.tensors)
      if (tensor->defined()) archive.put(name, tensor->clone());
    if (f.step) archive.put("step", *f.step);
    archive.put("point", point_.detach().clone());
  }

  void load(const Archive& archive, const ParameterLayout& layout) override {
    if (!archive.contains("point")) return;
    start(archive.tensor("point", layout.theta()));
    auto state = std::make_unique<State>();
    auto f = fields(*state);
    for (auto& [name, tensor] : f.tensors)
      if (archive.contains(name)) *tensor = archive.tensor(name, layout.theta()).clone();
    if (f.step) *f.step = archive.integer("step");
    optimizer_->state()[point_.unsafeGetTensorImpl()] = std::move(state);
  }

 private:
  void start(const Tensor& theta) {
    if (optimizer_) return;
    point_ = theta.detach().clone().requires_grad_();
    optimizer_ = std::make_unique<Optimizer>(std::vector<Tensor>{point_}, options_);
  }

  Options options_;
  Tensor point_;
  std::unique_ptr<Optimizer> optimizer_;
};

template <class Options, class From>
Options adam_options(const From& o) {
  return Options(o.learning_rate)
      .betas({o.beta1, o.beta2})
      .eps(o.epsilon)
      .weight_decay(o.weight_decay)
      .amsgrad(o.amsgrad);
}

using TorchSgd = TorchDirection<optim::SGD, optim::SGDOptions, optim::SGDParamState>;

}  // namespace

void AdamOptions::check() const {
  check_adam(*this);
}
void AdamWOptions::check() const {
  check_adam(*this);
}

void RmspropOptions::check() const {
  require_positive("learning_rate", learning_rate);
  require_between("alpha", alpha, 0, 1);
  require_non_negative("epsilon", epsilon);
  require_between("momentum", momentum, 0, 1);
  require_non_negative("weight_decay", weight_decay);
}

std::unique_ptr<Direction> torch_sgd(const SgdOptions& o) {
  return std::make_unique<TorchSgd>(optim::SGDOptions(o.learning_rate).weight_decay(o.weight_decay));
}

std::unique_ptr<Direction> torch_sgd(const MomentumOptions& o) {
  return std::make_unique<TorchSgd>(optim::SGDOptions(o.learning_rate)
                                        .momentum(o.momentum)
                                        .nesterov(o.nesterov)
                                        .weight_decay(o.weight_decay));
}

std::unique_ptr<Direction> torch_adam(const AdamOptions& o) {
  using Adam = TorchDirection<optim::Adam, optim::AdamOptions, optim::AdamParamState>;
  return std::make_unique<Adam>(adam_options<optim::AdamOptions>(o));
}

std::unique_ptr<Direction> torch_adamw(const AdamWOptions& o) {
  using AdamW = TorchDirection<optim::AdamW, optim::AdamWOptions, optim::AdamWParamState>;
  return std::make_unique<AdamW>(adam_options<optim::AdamWOptions>(o));
}

std::unique_ptr<Direction> torch_rmsprop(const RmspropOptions& o) {
  using Rmsprop = TorchDirection<optim::RMSprop, optim::RMSpropOptions, optim::RMSpropParamState>;
  return std::make_unique<Rmsprop>(optim::RMSpropOptions(o.learning_rate)
                                       .alpha(o.alpha)
                                       .eps(o.epsilon)
                                       .momentum(o.momentum)
                                       .centered(o.centered)
                                       .weight_decay(o.weight_decay));
}

}  // namespace osculant
