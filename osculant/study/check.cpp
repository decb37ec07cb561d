#include "osculant/study/check.h"

#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <algorithm>

#include "osculant/base/error.h"
#include "osculant/base/memory.h"
#include "osculant/base/stopwatch.h"
#include "osculant/model/consistency.h"
#include "osculant/objective/layer_factors.h"
#include "osculant/objective/linearization.h"
#include "osculant/optim/forward_state.h"
#include "osculant/study/analysis.h"

namespace osculant {
namespace {

constexpr int64_t trial_examples = 256;

std::string shape_text(const Tensor& tensor) {
  return fmt::format("[{}] {}", fmt::join(tensor.sizes(), ", "),
                     c10::getDtypeNames(tensor.scalar_type()).first);
}

Batch trial_batch(const Problem& problem) {
  int64_t required = problem.model.required_batch_size();
  return problem.train.range(0, required > 0 ? required : std::min(problem.train.size(), trial_examples));
}

// Parameters that the loss of a batch does not depend on, and those whose gradient is zero on it.
void find_unused(const Problem& problem, const Batch& batch, CheckRecord& record) {
  const ParameterLayout& layout = problem.model.layout();
  auto sum = problem.loss->sum(problem.model.forward(batch), batch);
  auto gradients = torch::autograd::grad({sum}, layout.leaves(), {}, false, false, /*allow_unused=*/true);
  for (size_t i = 0; i < gradients.size(); ++i) {
    const std::string& name = layout.parameters()[i].name;
    if (!gradients[i].defined()) {
      record.unused.push_back(name);
    } else if (gradients[i].abs().max().item<double>() == 0) {
      record.zero_gradient.push_back(name);
    }
  }
}

// One Hessian product on the batch. What cannot be differentiated twice is named in libtorch's message.
void try_second_derivatives(const Problem& problem, const Batch& batch, CheckRecord& record) {
  try {
    auto linearization = problem.objective(batch.size()).on(batch).linearize({.hessian = true});
    Tensor direction = at::ones({problem.model.parameters()}, problem.model.layout().options());
    linearization->hessian_product(direction);
    record.second_derivatives = true;
  } catch (const c10::Error& error) {
    std::string message = error.what_without_backtrace();
    record.second_derivatives_message = message.substr(0, message.find('\n'));
  } catch (const Error& error) {
    record.second_derivatives_message = error.what();
  }
}

// Whether the loss's gradient in a parameter can be differentiated by it once more.
std::vector<bool> second_derivatives_by_parameter(const Problem& problem, const Batch& batch) {
  const auto& leaves = problem.model.layout().leaves();
  std::vector<bool> exist(leaves.size(), false);
  try {
    auto sum = problem.loss->sum(problem.model.forward(batch), batch);
    auto gradients = torch::autograd::grad({sum}, leaves, {}, true, true, /*allow_unused=*/true);
    for (size_t p = 0; p < leaves.size(); ++p) try {
        exist[p] = true;  // also where it is 0
        if (gradients[p].defined() && gradients[p].requires_grad())
          torch::autograd::grad({gradients[p].sum()}, {leaves[p]}, {}, true, false, true);
      } catch (const c10::Error&) {
        exist[p] = false;
      }
  } catch (const c10::Error&) {
  }
  return exist;
}

// What layers closed forms hold for. Empty for a model whose examples are coupled.
std::vector<LayerCheck> check_layers(const Problem& problem, const Batch& batch) {
  std::vector<LayerCheck> layers;
  if (problem.model.couples_examples()) return layers;
  auto second = second_derivatives_by_parameter(problem, batch);
  LayerFactors factors(problem.objective(batch.size()), 0, batch);
  auto N = static_cast<double>(batch.size());
  for (const auto& use : factors.uses())
    layers.push_back({.name = use.tap.layer,
                      .kind = name_of(use.tap.kind),
                      .covered = true,
                      .second_derivative = second[use.tap.part.index],
                      .flops = flops_of(use),
                      .bytes = static_cast<int64_t>(static_cast<double>(use.tap.output.nbytes()) / N)});
  for (const auto& parameter : factors.untapped())
    layers.push_back(
        {.name = parameter.name, .reason = parameter.reason, .second_derivative = second[parameter.index]});
  return layers;
}

void cost_of(Result& result, double gradient_equivalents, const Stopwatch& watch) {
  result.cost = {gradient_equivalents, watch.seconds(), peak_resident_memory()};
}

}  // namespace

CheckRecord preflight(const Problem& problem) {
  CheckRecord record;
  Batch batch = trial_batch(problem);
  for (const auto& input : problem.train.examples().inputs) record.inputs.push_back(shape_text(input.tensor));
  for (const auto& target : problem.train.examples().targets)
    record.targets.push_back(shape_text(target.tensor));
  for (const auto& output : problem.model.forward(batch)) record.outputs.push_back(shape_text(output));
  Consistency found = consistency(problem.model, batch);
  record.deterministic = found.deterministic();
  record.independent = found.independent() && !problem.model.couples_examples();
  find_unused(problem, batch, record);
  try_second_derivatives(problem, batch, record);
  return record;
}

CheckRecord preflight_in_mode(const Problem& problem, bool training) {
  bool before = problem.model.training();
  if (trial_batch(problem).size() < 2) return preflight(problem);  // one example has no statistics
  problem.model.train(training);
  ForwardState state(problem.objective(trial_batch(problem).size()));
  auto snapshot = state.snapshot();
  CheckRecord record = preflight(problem);
  state.restore(snapshot);
  problem.model.train(before);
  return record;
}

std::string mode_words(const Problem& problem, const RunConfig& config, const CheckRecord& measured,
                       const CheckRecord& trained) {
  bool random = measured.deterministic != trained.deterministic;
  bool coupled =
      measured.deterministic && trained.deterministic && measured.independent != trained.independent;
  if (!random && !coupled) return "";
  return fmt::format(
      "this was measured in {} mode, and osculant train runs in {} mode, where {}; --set model.mode=train "
      "measures in that, --set model.mode=eval trains without",
      problem.model.training() ? "training" : "evaluation",
      config.model.mode == "eval" ? "evaluation" : "training",
      random ? "the same inputs give other outputs each time (dropout)"
             : "outputs depend on the others in a batch (batch normalisation)");
}

Result check(const Problem& problem, RunConfig& config) {
  Stopwatch watch;
  Result result = begin_result("check", problem);
  result.check = preflight(problem);
  result.check->layers = check_layers(problem, trial_batch(problem));
  const CheckRecord& record = *result.check;
  std::string mode =
      mode_words(problem, config, record, preflight_in_mode(problem, config.model.mode != "eval"));
  if (!mode.empty()) result.notes.push_back(mode);
  if (record.second_derivatives && record.deterministic) result.plan = plan_analysis(problem, config);
  cost_of(result, 0, watch);
  return result;
}

Result evaluate_parameters(const Problem& problem, const std::string& parameters_file) {
  Stopwatch watch;
  Result result = begin_result("evaluate", problem);
  int64_t required = problem.model.required_batch_size();
  int64_t batch_size = required > 0 ? required : 1024;
  EvaluationRecord record;
  record.parameters = parameters_file;
  record.metrics = evaluate(problem, problem.train, batch_size);
  record.loss = record.metrics.at("loss");
  record.metrics.erase("loss");
  if (problem.test) record.test = evaluate(problem, *problem.test, batch_size);
  result.evaluation = record;
  cost_of(result, 0, watch);
  return result;
}

}  // namespace osculant
