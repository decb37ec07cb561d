#include "osculant/optim/torch_optimizers.h"

#include <fmt/format.h>
#include <torch/serialize/archive.h>
#include <torch/types.h>

#include <cmath>

#include "osculant/base/error.h"
#include "osculant/io/archive.h"
#include "osculant/linop/vector_space.h"

namespace osculant::optim {
namespace {

constexpr const char* kind = "osculant optimizer";
constexpr int64_t version = 1;

// Copies of a group's parameters, which the method's state belongs to: the network's own are left where they
// are.
Objective copies_of(const std::vector<at::Tensor>& parameters) {
  std::vector<NamedTensor> copies;
  for (size_t i = 0; i < parameters.size(); ++i)
    copies.push_back({std::to_string(i), parameters[i].detach().clone().requires_grad_()});
  return Objective::function(std::move(copies), []() -> at::Tensor {
    fail(ErrorKind::internal, "a method of gradients alone has evaluated the objective");
  });
}

void require_gradients_alone(const MethodParts& parts, const std::string& name) {
  Needs needs = parts.direction->needs();
  bool more = needs.hessian || needs.gauss_newton || needs.jacobian || needs.outputs || parts.damping;
  if (more || !parts.rule->takes_all())
    fail_usage(fmt::format("method {}: needs {} and cannot be a torch optimizer; use osculant::Trainer", name,
                           more ? "curvature" : "the loss along its steps"));
}

}  // namespace

struct GradientOptimizer::Group {
  Group(const std::vector<at::Tensor>& parameters, const Method& method, size_t number)
      : objective(copies_of(parameters)),
        parts(method.make(objective)),
        random(0, fmt::format("optimizer group {}", number)) {
    require_gradients_alone(parts, method.name());
  }

  Objective objective;
  MethodParts parts;
  RandomStream random;
  int64_t steps = 0;
};

GradientOptimizer::GradientOptimizer(std::vector<torch::optim::OptimizerParamGroup> groups, Method method,
                                     double learning_rate)
    : Optimizer(std::move(groups), std::make_unique<Rate>(learning_rate)),
      method_(std::move(method)),
      learning_rate_(learning_rate) {
  for (size_t i = 0; i < param_groups().size(); ++i) group(i);
}

GradientOptimizer::~GradientOptimizer() = default;

GradientOptimizer::Group& GradientOptimizer::group(size_t i) {
  while (groups_.size() <= i)
    groups_.push_back(
        std::make_unique<Group>(param_groups()[groups_.size()].params(), method_, groups_.size()));
  return *groups_[i];
}

at::Tensor GradientOptimizer::step(LossClosure closure) {
  at::Tensor loss;
  if (closure) {
    at::AutoGradMode with_grad(true);
    loss = closure();
  }
  torch::NoGradGuard no_grad;
  ++steps_;
  auto& all = param_groups();
  double squares = 0;
  for (const auto& one : all)
    for (const auto& parameter : one.params())
      if (parameter.grad().defined()) {
        if (parameter.grad().layout() != at::kStrided)
          fail_usage(fmt::format("method {}: gradients must be dense tensors", method_.name()));
        squares += std::pow(parameter.grad().norm().item<double>(), 2);
      }
  if (!std::isfinite(static_cast<float>(squares))) {
    ++skipped_;
    return loss;
  }
  for (size_t i = 0; i < all.size(); ++i) step_group(group(i), all[i].params(), all[i].options().get_lr());
  return loss;
}

void GradientOptimizer::step_group(Group& group, const std::vector<at::Tensor>& parameters, double rate) {
  ParameterLayout& layout = group.objective.layout();
  std::vector<at::Tensor> gradients;
  for (const auto& parameter : parameters) gradients.push_back(parameter.grad());
  layout.assign(layout.flatten(parameters));
  auto linearization = group.objective.linearize({.gradient = true});
  Samples samples(group.objective, group.objective, group.random);
  StepContext context{*linearization, layout.flatten(gradients), samples, ++group.steps, group.random};
  group.parts.direction->prepare(context);
  Step step = group.parts.direction->propose(context, Damping(DampingOptions{.initial = 0}));
  if (!step.displacement.defined()) return;
  bool whole = rate == learning_rate_;
  bool at_target = whole && step.target.defined();
  auto moved = layout.unflatten(at_target ? step.target : step.displacement);
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (!gradients[i].defined()) continue;
    if (at_target)
      parameters[i].copy_(moved[i]);
    else
      parameters[i].add_(moved[i], whole ? 1.0 : rate / learning_rate_);
  }
  StepOutcome outcome;
  outcome.accepted = true;
  outcome.displacement = step.displacement;
  group.parts.direction->accepted(outcome);
}

void GradientOptimizer::save(torch::serialize::OutputArchive& out) const {
  Archive archive(kind, version);
  archive.put("method", method_.name());
  archive.put("steps", steps_);
  archive.put("skipped", skipped_);
  for (size_t i = 0; i < groups_.size(); ++i) {
    auto scope = archive.scope(std::to_string(i));
    scope.put("steps", groups_[i]->steps);
    scope.put("rate", param_groups()[i].options().get_lr());
    scope.put("random", groups_[i]->random.state().clone());
    auto direction = scope.scope("direction");
    groups_[i]->parts.direction->save(direction);
  }
  auto [text, tensors] = archive.parts();
  out.write("osculant", c10::IValue(text));
  for (size_t i = 0; i < tensors.size(); ++i) {
    out.write(fmt::format("tensor{}", i), tensors[i].tensor, /*is_buffer=*/true);
    out.write(fmt::format("name{}", i), c10::IValue(tensors[i].name));
  }
  out.write("tensors", c10::IValue(static_cast<int64_t>(tensors.size())));
}

void GradientOptimizer::load(torch::serialize::InputArchive& in) {
  c10::IValue text, count, name;
  if (!in.try_read("osculant", text) || !text.isString() || !in.try_read("tensors", count))
    fail_data("optimizer: the archive holds the state of another kind of optimizer");
  Archive::Parts parts{text.toStringRef(), {}};
  for (int64_t i = 0; i < count.toInt(); ++i) {
    Tensor tensor;
    in.read(fmt::format("tensor{}", i), tensor, /*is_buffer=*/true);
    in.read(fmt::format("name{}", i), name);
    parts.tensors.push_back({name.toStringRef(), tensor.cpu()});
  }
  Archive archive = Archive::from_parts(parts, "optimizer", kind, version);
  if (archive.text("method") != method_.name())
    fail_data(fmt::format("optimizer: the archive is of the method {}, this one is {}",
                          archive.text("method"), method_.name()));
  steps_ = archive.integer("steps");
  skipped_ = archive.integer("skipped");
  for (size_t i = 0; i < param_groups().size(); ++i) {
    auto scope = archive.scope(std::to_string(i));
    Group& mine = group(i);
    mine.steps = scope.integer("steps");
    param_groups()[i].options().set_lr(scope.number("rate"));
    mine.random.set_state(scope.tensor("random"));
    mine.parts.direction->load(scope.scope("direction"), mine.objective.layout());
  }
}

}  // namespace osculant::optim
