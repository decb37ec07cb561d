#include "osculant/study/training_setup.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "osculant/base/error.h"
#include "osculant/base/memory.h"
#include "osculant/base/stopwatch.h"
#include "osculant/comm/communicator.h"
#include "osculant/objective/weight_decay.h"
#include "osculant/optim/forward_state.h"
#include "osculant/optim/regularizer_table.h"
#include "osculant/study/named_options.h"

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

// "*.bias=0" as a rule for parameters.
std::vector<ParameterRule> rules_of(const RunConfig& config, const std::string& key,
                                    const std::vector<std::string>& texts) {
  std::vector<ParameterRule> rules;
  for (const auto& text : texts) {
    size_t sign = text.rfind('=');
    double value = 0;
    const char* last = text.data() + text.size();
    const char* first = sign == std::string::npos ? last : text.data() + sign + 1;
    auto [end, error] = std::from_chars(first, last, value);
    if (error != std::errc() || end != last || !(value >= 0))
      fail_usage(fmt::format("{}: \"{}\": must be NAME=NUMBER, the number >= 0", config.origin(key), text));
    rules.push_back({text.substr(0, sign), value});
  }
  return rules;
}

// "trace:strength=1e-4,parameters=*.weight", tried on the parameters there are.
std::vector<std::shared_ptr<const Regularizer>> regularizers_of(const Problem& problem,
                                                                const RunConfig& config) {
  std::vector<std::shared_ptr<const Regularizer>> regularizers;
  std::string origin = config.origin("train.regularizers");
  auto seed = config.seed();
  try {
    for (const auto& given : read_named_options(config.train.regularizers, origin, "regulariser")) {
      regularizers.push_back(find_regularizer(given.name).make(given.options, seed));
      if (auto glob = given.texts.find("parameters"); glob != given.texts.end())
        problem.model.layout().indices({glob->second});
    }
  } catch (const Error& error) {
    std::string message = error.what();
    fail_usage(message.starts_with(origin) ? message : fmt::format("{}: {}", origin, message));
  }
  return regularizers;
}

// Where a target's metric is one that could have been measured, what measures it.
std::string how_to_measure(const Problem& problem, std::string metric) {
  std::string out;
  if (metric.starts_with("test.")) {
    metric.erase(0, 5);
    if (!problem.test) out += "; --test-data FILE has something to test on";
  }
  auto names = metric_names();
  bool measured = std::any_of(problem.metrics.begin(), problem.metrics.end(),
                              [&](const auto& known) { return known.name == metric; });
  if (!measured && std::find(names.begin(), names.end(), metric) != names.end())
    out += fmt::format("; --set metrics.names={} measures it", metric);
  return out;
}

Schedule schedule_of(const RunConfig& config, const MinimizeOptions& options, int64_t examples) {
  const TrainConfig& train = config.train;
  Schedule schedule;
  for (auto shape : {ScheduleShape::cosine, ScheduleShape::linear, ScheduleShape::step})
    if (train.schedule == to_string(shape)) schedule.shape = shape;
  schedule.warmup = train.warmup.value_or(0);
  schedule.every = train.schedule_every.value_or(0);
  schedule.factor = train.schedule_factor.value_or(schedule.factor);
  schedule.final = train.schedule_final.value_or(0);
  bool has_length = schedule.shape == ScheduleShape::cosine || schedule.shape == ScheduleShape::linear;
  if (!has_length) return schedule;
  int64_t steps_an_epoch = (examples + options.batch_size - 1) / options.batch_size;
  schedule.length = train.steps ? *train.steps : train.epochs.value_or(0) * steps_an_epoch;
  if (schedule.length == 0)
    fail_usage(fmt::format("{} = \"{}\": needs train.steps or train.epochs, the length it is spread over",
                           config.origin("train.schedule"), train.schedule));
  return schedule;
}

}  // namespace

void fill_training_defaults(const Problem& problem, RunConfig& config) {
  TrainConfig& train = config.train;
  int64_t examples = problem.train.size(), required = problem.model.required_batch_size();
  std::vector<std::string> regularizers;  // each in one piece, as a shell's list may not have it
  for (const auto& given :
       read_named_options(train.regularizers, config.origin("train.regularizers"), "regulariser"))
    regularizers.push_back(given.label);
  train.regularizers = regularizers;
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

Objective training_objective(const Problem& problem, const RunConfig& config) {
  const TrainConfig& train = config.train;
  int64_t batch_size = resolve_batch_size(train.batch_size, problem.train.size());
  int64_t required = problem.model.required_batch_size();
  int64_t piece = required > 0                       ? required
                  : problem.model.couples_examples() ? batch_size
                                                     : std::min(batch_size, chunk);
  Objective objective = problem.objective(piece);
  for (auto& regularizer : regularizers_of(problem, config))
    objective = objective.plus(std::move(regularizer));
  if (!train.weight_decay && train.weight_decays.empty()) return objective;
  auto rules = rules_of(config, "train.weight_decays", train.weight_decays);
  per_coordinate(problem.model.layout(), rules, 0);  // names what matches nothing
  return objective.plus(weight_decay(train.weight_decay.value_or(0), std::move(rules)));
}

MinimizeOptions minimize_options(const Problem& problem, const RunConfig& config) {
  const TrainConfig& train = config.train;
  MinimizeOptions options;
  options.budget = budget_of(train.budget);
  options.steps = train.steps.value_or(0);
  options.epochs = static_cast<double>(train.epochs.value_or(0));
  options.target = train.target;
  options.gradient_norm = train.gradient_norm.value_or(0);
  options.require_psd = train.require_psd.value_or(0);
  options.seed = config.seed();
  options.batch_size = resolve_batch_size(train.batch_size, problem.train.size());
  options.evaluate_every = train.evaluate_every.value_or(0);
  options.schedule = schedule_of(config, options, problem.train.size());
  options.learning_rates = rules_of(config, "train.learning_rates", train.learning_rates);
  options.clip_gradient_norm = train.clip_gradient_norm.value_or(0);
  options.sharpness_radius = train.sharpness_radius.value_or(0);
  options.averaging = train.averaging.value_or(0);
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
  std::string remedy;
  try {
    Target target = Target::parse(config.train.target);
    remedy = how_to_measure(problem, target.metric());
    target.require_among(known);
  } catch (const Error& error) {
    fail_usage(fmt::format("{} = \"{}\": {}{}", config.origin("train.target"), config.train.target,
                           error.what(), remedy));
  }
}

GradientCost measure_gradient(const Problem& problem, const Objective& objective) {
  int64_t piece = objective.terms().front().data.batch_size();
  Objective batch = objective.on(problem.train.range(0, piece)).advanced(),
            plain = batch.without_regularizers();
  double share = static_cast<double>(piece) / static_cast<double>(problem.train.size());
  auto equivalents = [&](auto work) {
    double before = objective.ledger().gradient_equivalents();
    work();
    return (objective.ledger().gradient_equivalents() - before) / share;
  };
  GradientCost cost;
  MemoryMeter meter;
  cost.gradient_equivalents = equivalents([&] { batch.value_and_gradient(); });
  cost.bytes = meter.peak();
  cost.advance = equivalents([&] { batch.advanced(); });
  Stopwatch watch;
  plain.value_and_gradient();
  cost.seconds = world_communicator().of_first(watch.seconds()) / share;
  return cost;
}

namespace {

// Enough for batch normalisation, or as many as a program was exported for.
int64_t few_examples(const Problem& problem) {
  int64_t required = problem.model.required_batch_size();
  return std::min(required > 0 ? required : int64_t{4}, problem.train.size());
}

}  // namespace

ProblemSize problem_size(const Problem& problem, int64_t batch_size) {
  ProblemSize size{problem.model.parameters(), problem.train.size(), 0, batch_size,
                   static_cast<int64_t>(problem.model.layout().options().dtype().itemsize())};
  Batch batch = problem.train.range(0, few_examples(problem));
  ForwardState state(problem.objective(batch.size()));
  auto before = state.snapshot();
  torch::NoGradGuard no_grad;
  for (const auto& z : problem.model.forward(batch)) size.outputs += z.numel() / batch.size();
  state.restore(before);
  return size;
}

double step_price(const MethodInfo& method, const Problem& problem, const Objective& objective,
                  const ProblemSize& size) {
  if (!method.make({}).make(objective).direction->needs().jacobian) return method.cost.value(size);
  Batch few = problem.train.range(0, few_examples(problem));
  ForwardState state(objective);
  auto before = state.snapshot();
  auto linearization =
      objective.without_regularizers().on(few).linearize({.gradient = true, .jacobian = true});
  linearization->gradient();
  double start = objective.ledger().gradient_equivalents();
  linearization->gauss_newton_root([](const Tensor&, const Tensor&) {});
  double spent = objective.ledger().gradient_equivalents() - start;
  state.restore(before);
  auto examples = static_cast<double>(few.size());
  double passes = spent * static_cast<double>(size.examples) / examples / Price::jacobian_transpose_product;
  ProblemSize by_passes = size;
  if (passes > static_cast<double>(size.outputs + 1)) {
    int64_t batch = size.batch_size > 0 ? size.batch_size : size.examples;
    by_passes.outputs = std::llround(passes / examples * static_cast<double>(batch));
  }
  return method.cost.value(by_passes);
}

}  // namespace osculant
