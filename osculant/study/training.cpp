#include "osculant/study/training.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "osculant/base/error.h"
#include "osculant/base/memory.h"
#include "osculant/base/stopwatch.h"
#include "osculant/base/text.h"
#include "osculant/io/safetensors.h"
#include "osculant/optim/methods.h"
#include "osculant/optim/minimizer.h"
#include "osculant/study/same_run.h"
#include "osculant/study/training_setup.h"
#include "osculant/study/training_watch.h"
#include "osculant/study/watchers.h"

namespace osculant {
namespace {

void require_limit(const RunConfig& config) {
  const TrainConfig& train = config.train;
  if (!train.steps && !train.epochs && train.budget.empty() && train.target.empty() && !train.gradient_norm)
    fail_usage(
        "when to stop is not given: --steps, --epochs, --budget 60s (or 500ge), --target 'loss<=1e-4' or "
        "--gradient-norm 1e-6");
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

std::string verdict_name(MinimumEigenvalueVerdict verdict) {
  return verdict == MinimumEigenvalueVerdict::negative ? "not_certified" : std::string(to_string(verdict));
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
  if (const auto& smallest = summary.smallest_eigenvalue)
    record.curvature = CurvatureRecord{.verdict = verdict_name(smallest->verdict),
                                       .smallest = smallest->value,
                                       .tolerance = smallest->tolerance,
                                       .failure_probability = smallest->failure_probability,
                                       .products = smallest->products,
                                       .steps = summary.negative_curvature_steps,
                                       .message = verdict_in_words(*smallest)};
  for (const auto& [name, value] : summary.final_metrics) {
    if (name.starts_with("test.")) {
      record.test[name.substr(5)] = value;
    } else if (name != "loss") {
      record.metrics[name] = value;
    }
  }
  return record;
}

// What regularisers add to the loss, models in evaluation mode.
double penalty_of(const Objective& objective) {
  const auto& regularizers = objective.regularizers();
  bool of_data =
      std::any_of(regularizers.begin(), regularizers.end(), [](const auto& r) { return r->of_data(); });
  if (regularizers.empty()) return 0;
  at::NoGradGuard no_grad;
  if (!of_data) return objective.penalty_value().item<double>();
  ForwardState::EvaluationMode mode(objective);
  return objective.value() - objective.without_regularizers().value();
}

// What may change between a run and its continuation.
const std::vector<std::string> limits{"train.steps",  "train.epochs",        "train.budget",
                                      "train.target", "train.gradient_norm", "train.require_psd",
                                      "model.mode"};
// What changes no answer, and may also differ from what a finished run was told.
const std::vector<std::string> workings{"train.evaluate_every",
                                        "train.checkpoint_every",
                                        "train.keep_checkpoints",
                                        "train.watch",
                                        "run.threads",
                                        "run.memory_budget",
                                        "run.out",
                                        "analyze.",
                                        "compare.",
                                        "advise."};

std::shared_ptr<TrainingWatch> watch_of(const Objective& objective, const RunConfig& config,
                                        const MinimizeOptions& options) {
  if (!config.train.watch.value_or(true)) return nullptr;
  bool scaled =
      options.clip_gradient_norm > 0 || options.sharpness_radius > 0 || !options.learning_rates.empty();
  int64_t batch = objective.has_outputs() ? std::min(options.batch_size, objective.examples()) : 1;
  return std::make_shared<TrainingWatch>(objective, batch,
                                         TrainingWatchOptions{.seed = options.seed,
                                                              .limit = stability_limit(config.train),
                                                              .schedule = options.schedule,
                                                              .scaled = scaled});
}

}  // namespace

PlanRecord plan_training(const Problem& problem, RunConfig& config) {
  fill_training_defaults(problem, config);
  training_method(config);
  check_training(problem, config);
  require_limit(config);
  MinimizeOptions options = minimize_options(problem, config);
  Objective objective = training_objective(problem, config);
  GradientCost gradient = measure_gradient(problem, objective);
  ProblemSize size = problem_size(problem, options.batch_size);
  const MethodInfo& method = find_method(config.train.method);
  double examples = static_cast<double>(problem.train.size()),
         batch = static_cast<double>(options.batch_size);
  // Each step's gradient has the regularisers in it, and so has the one uphill.
  double uphill = options.sharpness_radius > 0 ? gradient.gradient_equivalents : 0;
  // Which parameters layers tell depends on the mode.
  bool trains = problem.model.training();
  problem.model.train(config.model.mode != "eval");
  double price = step_price(method, problem, objective, size);
  problem.model.train(trains);
  double ge_a_step = price + size.share() * (gradient.gradient_equivalents - 1 + gradient.advance + uphill);
  double seconds_a_ge = gradient.seconds;
  double steps = planned_steps(options, ge_a_step, std::ceil(examples / batch));

  PlanRecord record;
  bool timed = options.budget.unit == Budget::Unit::seconds;
  record.gradient_equivalents = timed ? options.budget.amount / seconds_a_ge : steps * ge_a_step;
  record.seconds = timed ? options.budget.amount : record.gradient_equivalents * seconds_a_ge;
  // theta, its copy and one gradient, the method's own, and the graph of a piece with its workspace.
  record.bytes = 3 * size.parameters * size.bytes_per_number +
                 static_cast<int64_t>(method.memory.value(size)) + gradient.bytes;
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

void require_same_training(const std::string& folder, const RunConfig& config, bool finished) {
  std::vector<std::string> may_differ = workings;
  if (!finished) may_differ.insert(may_differ.end(), limits.begin(), limits.end());
  require_same_run(folder, config, may_differ);
}

Result train(const Problem& problem, const RunConfig& config, const ResultDirectory& folder, bool resume,
             const ShowProgress& progress) {
  Stopwatch watch;
  MinimizeOptions options = minimize_options(problem, config);
  problem.model.train(config.model.mode != "eval");
  Objective objective = training_objective(problem, config);

  auto log = std::make_shared<MetricsLog>(folder.file("metrics.jsonl"),
                                          resume ? LineFile::Mode::append : LineFile::Mode::create);
  std::shared_ptr<BestWeights> best;
  if (std::string metric = watched_metric(problem, config); !metric.empty())
    best = std::make_shared<BestWeights>(folder.file("best.safetensors"), metric,
                                         higher_is_better(problem, metric));
  auto watcher = watch_of(objective, config, options);
  auto checkpoints =
      std::make_shared<Checkpoints>(folder.file("checkpoints"), config.train.checkpoint_every.value_or(0),
                                    config.train.keep_checkpoints.value_or(3), log, best, watcher);
  options.observers = {log, std::make_shared<ProgressWatcher>(progress)};
  if (best) options.observers.push_back(best);
  if (watcher) options.observers.push_back(watcher);
  options.observers.push_back(checkpoints);  // last: it saves what the others know

  Minimizer minimizer(objective, training_method(config), options);
  if (resume && !checkpoints->resume(minimizer)) log->truncate(0);
  Summary summary = minimizer.run();
  save_safetensors(folder.file("parameters.safetensors"), problem.model.state());

  Result result = begin_result("train", problem);
  result.status = status_of(summary.reason);
  result.training = record_of(summary);
  result.training->objective = summary.final_loss + penalty_of(minimizer.stepper().objective());
  if (watcher) result.training->watch = watcher->record();
  result.cost = {summary.gradient_equivalents, watch.seconds(), peak_resident_memory()};
  return result;
}

}  // namespace osculant
