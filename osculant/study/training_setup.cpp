#include "osculant/study/training_setup.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "osculant/base/error.h"
#include "osculant/base/memory.h"
#include "osculant/base/stopwatch.h"

namespace osculant {
namespace {

constexpr int64_t default_batch_size = 256;
constexpr int64_t full_batch_limit = 2048;  // up to here every step sees all examples, unless told otherwise
constexpr int64_t chunk = 1024;             // a larger batch is worked on in pieces

Budget budget_of(const std::string& text) {
  if (text.empty()) return {};
  double amount = 0;
  auto [unit, error] = std::from_chars(text.data(), text.data() + text.size(), amount);
  return std::string(unit) == "s" ? seconds(amount) : gradient_equivalents(amount);
}

// Metrics beside the training loss: "accuracy", "test.loss", "test.accuracy".
std::vector<Metric> measure(const Problem& problem, int64_t batch_size) {
  std::vector<Metric> metrics;
  if (!problem.metrics.empty())
    for (const auto& [name, value] : evaluate(problem, problem.train, batch_size))
      if (name != "loss") metrics.push_back({name, value});
  if (problem.test)
    for (const auto& [name, value] : evaluate(problem, *problem.test, batch_size))
      metrics.push_back({"test." + name, value});
  return metrics;
}

int64_t evaluation_batch_size(const Problem& problem) {
  int64_t required = problem.model.required_batch_size();
  return required > 0 ? required : chunk;
}

}  // namespace

void fill_training_defaults(const Problem& problem, RunConfig& config) {
  TrainConfig& train = config.train;
  int64_t examples = problem.train.size(), required = problem.model.required_batch_size();
  if (train.method.empty()) fail_usage("train.method is not given: in the run file, or with --method adam");
  if (train.batch_size.empty())
    train.batch_size = required > 0                   ? std::to_string(required)
                       : examples <= full_batch_limit ? "full"
                                                      : std::to_string(default_batch_size);
}

Method training_method(const RunConfig& config) {
  const TrainConfig& train = config.train;
  const MethodInfo* info = nullptr;
  try {
    info = &find_method(train.method);
  } catch (const Error& error) {
    fail_usage(fmt::format("{}: {}", config.origin("train.method"), error.what()));
  }
  try {
    return info->make(train.options);
  } catch (const Error& error) {  // names the option and its value; the line is ours to know
    for (const auto& [name, value] : train.options)
      if (std::string(error.what()).find(name) != std::string::npos)
        fail_usage(fmt::format("{}: {}", config.origin("train.options." + name), error.what()));
    throw;
  }
}

Objective training_objective(const Problem& problem, int64_t batch_size) {
  if (int64_t required = problem.model.required_batch_size(); required > 0)
    return problem.objective(required);
  return problem.objective(problem.model.couples_examples() ? batch_size : std::min(batch_size, chunk));
}

MinimizeOptions minimize_options(const Problem& problem, const RunConfig& config) {
  const TrainConfig& train = config.train;
  MinimizeOptions options;
  options.budget = budget_of(train.budget);
  options.steps = train.steps.value_or(0);
  options.epochs = static_cast<double>(train.epochs.value_or(0));
  options.target = train.target;
  options.seed = static_cast<uint64_t>(*config.run.seed);
  options.batch_size = resolve_batch_size(train.batch_size, problem.train.size());
  options.evaluate_every = train.evaluate_every.value_or(0);
  options.metrics = [&problem] { return measure(problem, evaluation_batch_size(problem)); };
  return options;
}

void check_training(const Problem& problem, const RunConfig& config) {
  int64_t batch_size = resolve_batch_size(config.train.batch_size, problem.train.size());
  int64_t required = problem.model.required_batch_size();
  if (required > 0 && batch_size % required != 0)
    fail_usage(
        fmt::format("{} = {}: the model was exported for exactly {} examples, so it must be a multiple",
                    config.origin("train.batch_size"), batch_size, required));
  if (config.train.target.empty()) return;
  std::vector<Metric> known{{"loss", 0}};
  for (const auto& metric : problem.metrics) known.push_back({metric.name, 0});
  if (problem.test)
    for (size_t i = 0, count = known.size(); i < count; ++i) known.push_back({"test." + known[i].name, 0});
  try {
    Target::parse(config.train.target).require_among(known);
  } catch (const Error& error) {
    fail_usage(
        fmt::format("{} = \"{}\": {}", config.origin("train.target"), config.train.target, error.what()));
  }
}

GradientCost measure_gradient(const Problem& problem, const Objective& objective) {
  int64_t piece = objective.terms().front().data.batch_size();
  Objective batch = objective.on(problem.train.range(0, piece));
  batch.value_and_gradient();
  MemoryMeter meter;
  Stopwatch watch;
  batch.value_and_gradient();
  double share = static_cast<double>(piece) / static_cast<double>(problem.train.size());
  return {watch.seconds() / share, meter.peak()};
}

}  // namespace osculant
