#include "osculant/study/training.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <memory>

#include "osculant/base/error.h"
#include "osculant/base/memory.h"
#include "osculant/base/stopwatch.h"
#include "osculant/base/text.h"
#include "osculant/io/safetensors.h"
#include "osculant/optim/methods.h"
#include "osculant/optim/minimizer.h"
#include "osculant/study/watchers.h"

namespace osculant {
namespace {

constexpr int64_t default_batch_size = 256;
constexpr int64_t full_batch_limit = 2048;  // up to here every step sees all examples, unless told otherwise
constexpr int64_t chunk = 1024;             // a larger batch is worked on in pieces

void fill_defaults(const Problem& problem, RunConfig& config) {
  TrainConfig& train = config.train;
  int64_t examples = problem.train.size(), required = problem.model.required_batch_size();
  if (train.method.empty()) fail_usage("train.method is not given: in the run file, or with --method adam");
  if (train.batch_size.empty())
    train.batch_size = required > 0                   ? std::to_string(required)
                       : examples <= full_batch_limit ? "full"
                                                      : std::to_string(default_batch_size);
}

Method method_of(const RunConfig& config) {
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

Budget budget_of(const std::string& text) {
  if (text.empty()) return {};
  double amount = 0;
  auto [unit, error] = std::from_chars(text.data(), text.data() + text.size(), amount);
  return std::string(unit) == "s" ? seconds(amount) : gradient_equivalents(amount);
}

// A batch is read in pieces, except where examples of a batch depend on each other.
Objective training_objective(const Problem& problem, int64_t batch_size) {
  if (int64_t required = problem.model.required_batch_size(); required > 0)
    return problem.objective(required);
  return problem.objective(problem.model.couples_examples() ? batch_size : std::min(batch_size, chunk));
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

// The target, tried on the names it may speak of, before anything is done.
void check_target(const Problem& problem, const RunConfig& config) {
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

void require_limit(const RunConfig& config) {
  const TrainConfig& train = config.train;
  if (!train.steps && !train.epochs && train.budget.empty() && train.target.empty())
    fail_usage(
        "when to stop is not given: --steps, --epochs, --budget 60s (or 500ge) or --target 'loss<=1e-4'");
}

// Seconds and bytes of one gradient of a batch, measured once to warm up and once for the number.
struct Measured {
  double seconds = 0;
  int64_t bytes = 0;
};

Measured measure_gradient(const Objective& batch) {
  batch.value_and_gradient();
  MemoryMeter meter;
  Stopwatch watch;
  batch.value_and_gradient();
  return {watch.seconds(), meter.peak()};
}

// Steps that the limits allow; NaN when only a target or a time ends the run.
double planned_steps(const MinimizeOptions& options, double ge_a_step, double steps_an_epoch) {
  double steps = std::nan("");
  if (options.steps > 0) steps = std::fmin(steps, static_cast<double>(options.steps));
  if (options.epochs > 0) steps = std::fmin(steps, options.epochs * steps_an_epoch);
  if (options.budget.unit == Budget::Unit::gradient_equivalents)
    steps = std::fmin(steps, options.budget.amount / ge_a_step);
  return steps;
}

std::string watched_metric(const Problem& problem, const RunConfig& config) {
  if (!config.train.target.empty()) return Target::parse(config.train.target).metric();
  if (problem.metrics.empty()) return "";
  return (problem.test ? "test." : "") + problem.metrics.front().name;
}

bool higher_is_better(const Problem& problem, const std::string& metric) {
  for (const auto& known : problem.metrics)
    if (metric == known.name || metric == "test." + known.name) return known.higher_is_better;
  return false;
}

std::string status_of(StopReason reason) {
  if (reason == StopReason::interrupted) return "interrupted";
  return reason == StopReason::numerical_failure ? "failed" : "done";
}

TrainingRecord record_of(const Summary& summary) {
  TrainingRecord record;
  record.method = summary.method;
  record.stop = {to_string(summary.reason), summary.message};
  record.reached = summary.reached;
  record.steps = summary.steps;
  record.epochs = summary.epochs;
  record.initial_loss = summary.initial_loss;
  record.loss = summary.final_loss;
  record.objective = summary.final_loss;  // no regularisers yet
  for (const auto& [name, value] : summary.final_metrics) {
    if (name.starts_with("test.")) {
      record.test[name.substr(5)] = value;
    } else if (name != "loss") {
      record.metrics[name] = value;
    }
  }
  return record;
}

// What may not change between a run and its continuation.
std::map<std::string, std::string> identity(const RunConfig& config) {
  auto values = config.values();
  for (const char* limit :
       {"train.steps", "train.epochs", "train.budget", "train.target", "train.evaluate_every",
        "train.checkpoint_every", "run.threads", "run.memory_budget", "run.out", "model.mode"})
    values.erase(limit);
  std::erase_if(values, [](const auto& entry) { return entry.first.starts_with("analyze."); });
  return values;
}

}  // namespace

PlanRecord plan_training(const Problem& problem, RunConfig& config) {
  fill_defaults(problem, config);
  method_of(config);
  check_target(problem, config);
  require_limit(config);
  MinimizeOptions options = minimize_options(problem, config);
  int64_t required = problem.model.required_batch_size();
  if (required > 0 && options.batch_size % required != 0)
    fail_usage(
        fmt::format("{} = {}: the model was exported for exactly {} examples, so it must be a multiple",
                    config.origin("train.batch_size"), options.batch_size, required));

  Objective objective = training_objective(problem, options.batch_size);
  int64_t piece = objective.terms().front().data.batch_size();
  Measured gradient = measure_gradient(objective.on(problem.train.range(0, piece)));
  auto dtype_bytes = static_cast<int64_t>(problem.model.layout().options().dtype().itemsize());
  ProblemSize size{problem.model.parameters(), problem.train.size(), 1, options.batch_size, dtype_bytes};
  const MethodInfo& method = find_method(config.train.method);
  double examples = static_cast<double>(problem.train.size()),
         batch = static_cast<double>(options.batch_size);
  double ge_a_step = method.cost.value(size);
  double seconds_a_ge = gradient.seconds * examples / static_cast<double>(piece);
  double steps = planned_steps(options, ge_a_step, std::ceil(examples / batch));

  PlanRecord record;
  bool timed = options.budget.unit == Budget::Unit::seconds;
  record.gradient_equivalents = timed ? options.budget.amount / seconds_a_ge : steps * ge_a_step;
  record.seconds = timed ? options.budget.amount : record.gradient_equivalents * seconds_a_ge;
  // theta, its copy and one gradient, the method's own, and the graph of a piece with its workspace.
  record.bytes =
      3 * size.parameters * dtype_bytes + static_cast<int64_t>(method.memory.value(size)) + gradient.bytes;
  record.budget = problem.memory_budget;
  record.words =
      fmt::format("{} on batches of {} of {} examples, about {} ge and {} a step", config.train.method,
                  format_count(options.batch_size), format_count(problem.train.size()),
                  format_number(ge_a_step), format_seconds(ge_a_step * seconds_a_ge));
  if (record.bytes > record.budget)
    fail(ErrorKind::memory,
         fmt::format("{} needs at least {} ({} for the method, {} for a batch), and run.memory_budget is {}; "
                     "a smaller "
                     "--batch-size, a method that keeps less, or --memory-budget {} would do",
                     config.train.method, format_bytes(record.bytes),
                     format_bytes(static_cast<int64_t>(method.memory.value(size))),
                     format_bytes(gradient.bytes), format_bytes(record.budget), format_bytes(record.bytes)));
  return record;
}

void require_same_run(const std::string& folder, const RunConfig& config) {
  std::string path = folder + "/run.toml";
  if (!std::filesystem::exists(path)) return;
  RunConfig earlier;
  earlier.read_file(path);
  auto before = identity(earlier), now = identity(config);
  auto text = [](const auto& values, const std::string& key) {
    auto found = values.find(key);
    return found == values.end() ? std::string("not given") : found->second;
  };
  for (const auto* values : {&before, &now})
    for (const auto& [key, value] : *values)
      if (text(before, key) != text(now, key))
        fail_usage(fmt::format("--resume: {} is {}, and in {} it was {}; going on would mix two runs", key,
                               text(now, key), path, text(before, key)));
}

Result train(const Problem& problem, const RunConfig& config, const ResultDirectory& folder, bool resume,
             const ShowProgress& progress) {
  Stopwatch watch;
  MinimizeOptions options = minimize_options(problem, config);
  problem.model.train(config.model.mode != "eval");
  Objective objective = training_objective(problem, options.batch_size);

  auto log = std::make_shared<MetricsLog>(folder.file("metrics.jsonl"),
                                          resume ? LineFile::Mode::append : LineFile::Mode::create);
  std::shared_ptr<BestWeights> best;
  if (std::string metric = watched_metric(problem, config); !metric.empty())
    best = std::make_shared<BestWeights>(folder.file("best.safetensors"), metric,
                                         higher_is_better(problem, metric));
  auto checkpoints = std::make_shared<Checkpoints>(folder.file("checkpoints"),
                                                   config.train.checkpoint_every.value_or(0), log, best);
  options.observers = {log, std::make_shared<ProgressWatcher>(progress)};
  if (best) options.observers.push_back(best);
  options.observers.push_back(checkpoints);  // last: it saves what the others know

  Minimizer minimizer(objective, method_of(config), options);
  if (resume && !checkpoints->resume(minimizer)) log->truncate(0);
  Summary summary = minimizer.run();
  save_safetensors(folder.file("parameters.safetensors"), problem.model.state());

  Result result;
  result.command = "train";
  result.status = status_of(summary.reason);
  result.model = describe(problem.model);
  result.data = describe_data(problem);
  result.training = record_of(summary);
  result.cost = {summary.gradient_equivalents, watch.seconds(), peak_resident_memory()};
  return result;
}

}  // namespace osculant
