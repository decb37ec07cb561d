#include "osculant/study/problem.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/cuda.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>

#include "osculant/base/error.h"
#include "osculant/base/memory.h"
#include "osculant/base/text.h"
#include "osculant/comm/communicator.h"
#include "osculant/objective/linearization.h"
#include "osculant/study/build_model.h"
#include "osculant/study/load_data.h"

namespace osculant {
namespace {

at::Device device_of(const RunConfig& config) {
  const std::string& name = config.run.device;
  auto refuse = [&](const std::string& why) {
    fail_usage(fmt::format("{} = {}: {}", config.origin("run.device"), name, why));
  };
  try {
    at::Device device(name);
    if (device.is_cpu()) return device;
    if (!device.is_cuda()) refuse("must be cpu or cuda");
    int64_t count = torch::cuda::is_available() ? static_cast<int64_t>(torch::cuda::device_count()) : 0;
    if (count == 0) refuse("no such device here; cpu is");
    if (device.index() >= count)
      refuse(fmt::format("no such device here; there are cuda:0 to cuda:{}", count - 1));
    return device;
  } catch (const c10::Error&) {
    refuse("must be cpu, cuda or cuda:N");
  }
  return at::kCPU;
}

int64_t resolve_memory_budget(RunConfig& config) {
  std::string& text = config.run.memory_budget;
  int64_t bytes = text == "half" ? fair_share_of_memory() : parse_bytes("run.memory_budget", text);
  text = std::to_string(bytes);
  return bytes;
}

template <class T>
void default_to(T& value, const T& standard) {
  if (value.empty()) value = standard;
}

void fill_run_defaults(RunConfig& config) {
  config.run.seed = config.run.seed.value_or(0);
  config.run.threads = config.run.threads.value_or(0);
  default_to<std::string>(config.run.dtype, "float32");
  default_to<std::string>(config.run.device, "cpu");
  default_to<std::string>(config.run.memory_budget, "half");
  default_to<std::string>(config.loss.outputs, "mean");
}

void require_sections(const RunConfig& config) {
  auto require = [](const std::string& value, const char* key, const char* flag) {
    if (value.empty()) fail_usage(fmt::format("{} is not given: in the run file, or with {}", key, flag));
  };
  require(config.model.kind, "model.kind", "--model m.pt2 (or --model mlp:784-256-10)");
  require(config.data.kind, "data.kind", "--data train.safetensors");
  require(config.loss.kind, "loss.kind", "--loss cross_entropy");
}

void refuse_options_of_other_losses(const RunConfig& config) {
  const LossConfig& loss = config.loss;
  auto refuse = [&](bool given, const char* key, const char* of) {
    if (given && loss.kind != of)
      fail_usage(
          fmt::format("{}: belongs to the loss {}, and the loss is {}", config.origin(key), of, loss.kind));
  };
  refuse(loss.label_smoothing.has_value(), "loss.label_smoothing", "cross_entropy");
  refuse(!loss.class_weights.empty(), "loss.class_weights", "cross_entropy");
  refuse(loss.delta.has_value(), "loss.delta", "huber");
}

OutputLoss make_loss(const RunConfig& config, at::TensorOptions tensors) {
  const LossConfig& loss = config.loss;
  refuse_options_of_other_losses(config);
  auto outputs = loss.outputs == "sum" ? OutputReduction::sum : OutputReduction::mean;
  if (loss.kind == "mse") return MeanSquaredError({.outputs = outputs});
  if (loss.kind == "binary_cross_entropy") return BinaryCrossEntropy({.outputs = outputs});
  if (loss.kind == "poisson") return Poisson({.outputs = outputs});
  if (loss.kind == "huber") return Huber({.delta = loss.delta.value_or(1), .outputs = outputs});
  Tensor weights;
  if (!loss.class_weights.empty()) weights = torch::tensor(loss.class_weights, at::kDouble).to(tensors);
  return CrossEntropy(
      {.label_smoothing = loss.label_smoothing.value_or(0), .class_weights = weights, .outputs = outputs});
}

// "[256, 784] float32"
std::string shape_text(const Tensor& tensor) {
  return fmt::format("[{}] {}", fmt::join(tensor.sizes(), ", "), c10::toString(tensor.scalar_type()));
}

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

// One forward pass and one value of the loss on a few examples: shapes, dtypes and labels that do not fit.
void try_on_a_few(const Model& model, const OutputLoss& loss, const Dataset& data, const char* which) {
  int64_t required = model.required_batch_size();
  if (required > 0 && data.size() % required != 0)
    fail_data(
        fmt::format("the model was exported for exactly {} examples a batch, and the {} data hold {}: export "
                    "it again with dynamic_shapes",
                    required, which, data.size()));
  Batch batch = data.range(0, required > 0 ? required : std::min<int64_t>(data.size(), 4))
                    .to(model.device(), model.dtype());
  at::NoGradGuard no_grad;
  try {
    auto outputs = model.forward(batch);
    loss->check(outputs, batch);
    loss->sum(outputs, batch);
  } catch (const c10::Error& error) {
    fail_data(fmt::format("the model does not accept the {} data's inputs {}: {}", which,
                          shape_text(data.examples().inputs.front().tensor),
                          first_line(error.what_without_backtrace())));
  }
}

// Every target against the loss, so that a label out of range is found now and not in the ninth minute.
void check_targets(const Model& model, const OutputLoss& loss, const Dataset& data) {
  at::NoGradGuard no_grad;
  int64_t chunk = model.required_batch_size() > 0 ? model.required_batch_size() : 4;
  Batch few = data.range(0, std::min(chunk, data.size())).to(model.device(), model.dtype());
  auto outputs = model.forward(few);
  std::vector<Tensor> zeros;  // outputs for all examples, of the right shape and no values
  for (const auto& output : outputs) {
    auto shape = output.sizes().vec();
    if (shape.empty() || shape[0] != few.size()) return;
    shape[0] = data.size();
    zeros.push_back(at::zeros({1}, output.options()).expand(shape));
  }
  loss->check(zeros, data.examples().to(model.device(), model.dtype()));
}

// The losses' word for where an entry is; what check_fit gives them begins with the data's first example.
std::string with_rows(std::string message, const char* which, bool shuffled) {
  constexpr std::string_view in_batch = "(position in its batch)";
  size_t at = message.find(in_batch);
  if (at == std::string::npos) return message;
  return message.replace(at, in_batch.size(),
                         fmt::format("(row of the {} data, the first is 0{})", which,
                                     shuffled ? ", as they were shuffled" : ""));
}

// Both of these, with the data's file in the message.
void check_fit(const Model& model, const OutputLoss& loss, const Dataset& data, const char* which,
               const std::string& file, bool shuffled) {
  try {
    try_on_a_few(model, loss, data, which);
    check_targets(model, loss, data);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data) throw;
    std::string message = with_rows(error.what(), which, shuffled);
    fail_data(file.empty() ? message : fmt::format("{}: {}", file, message));
  }
}

}  // namespace

int64_t resolve_batch_size(const std::string& text, int64_t examples) {
  return text == "full" ? examples : std::min(examples, std::stol(text));
}

Objective Problem::objective(int64_t batch_size) const {
  Objective made(model, loss, train.batches(batch_size));
  made.set_memory_budget(memory_budget);
  return made;
}

Problem load_problem(RunConfig& config) {
  fill_run_defaults(config);
  require_sections(config);
  config.make_paths_absolute();
  if (*config.run.threads > 0) at::set_num_threads(static_cast<int>(*config.run.threads));
  auto seed = config.seed();
  torch::manual_seed(seed);
  at::Device device = device_of(config);
  at::ScalarType dtype = config.run.dtype == "float64" ? at::kDouble : at::kFloat;
  int64_t memory = resolve_memory_budget(config);

  OutputLoss loss = make_loss(config, at::TensorOptions().device(device).dtype(dtype));
  std::vector<OutputMetric> metrics;
  for (const auto& name : config.metrics) metrics.push_back(find_metric(name, loss.name()));
  auto [train, test] = load_data(config, seed);  // first: a text decides the size of its vocabulary
  Model model = build_model(config, device, dtype, seed);
  model.train(false);
  bool shuffled = config.data.shuffle.value_or(false), split = config.data.test == "split";
  check_fit(model, loss, train, "training", config.data.path, shuffled);
  if (test)
    check_fit(model, loss, *test, "test", split ? config.data.path : config.data.test, shuffled && split);
  auto here = [&](const Dataset& data) { return data.to(device, dtype); };
  std::optional<Dataset> test_here;
  if (test) test_here = here(*test);
  model.train(config.model.mode == "train");
  return {model, loss, here(train), test_here, metrics, memory};
}

std::map<std::string, double> evaluate(const Problem& problem, const Dataset& data, int64_t batch_size) {
  bool training = problem.model.training();
  problem.model.train(false);
  at::NoGradGuard no_grad;
  size_t count = problem.metrics.size() + 1;
  std::vector<Tensor> numerators(count), denominators(count);
  auto add = [&](size_t i, const Tensor& numerator, const Tensor& denominator) {
    numerators[i] = numerators[i].defined() ? numerators[i] + numerator : numerator.to(at::kDouble);
    denominators[i] = denominators[i].defined() ? denominators[i] + denominator : denominator.to(at::kDouble);
  };
  BatchSource source = data.batches(batch_size);
  for (int64_t b = 0; b < source.batches(); ++b) {
    Batch batch = source.batch(b).to(problem.model.device(), problem.model.dtype());
    auto outputs = problem.model.forward(batch);
    add(0, problem.loss->sum(outputs, batch), problem.loss->denominator(outputs, batch));
    for (size_t m = 0; m + 1 < count; ++m) {
      auto [numerator, denominator] = problem.metrics[m].parts(outputs, batch);
      add(m + 1, numerator, denominator);
    }
  }
  problem.model.train(training);
  auto ratio = [&](size_t i) { return (numerators[i] / denominators[i]).item<double>(); };
  std::map<std::string, double> values{{"loss", ratio(0)}};
  for (size_t m = 0; m + 1 < count; ++m)
    values[problem.metrics[m].name] = problem.metrics[m].finish(ratio(m + 1));
  return values;
}

ModelRecord describe(const Model& model) {
  ModelRecord record{model.kind(), model.parameters(), 0, {}};
  for (const auto& frozen : model.frozen()) record.frozen += frozen.tensor.numel();
  for (const auto& layer : model.layers())
    record.layers.push_back({layer.name, layer.shape, layer.parameters});
  return record;
}

Result begin_result(const std::string& command, const Problem& problem) {
  Result result;
  result.command = command;
  result.model = describe(problem.model);
  result.data = {problem.train.size(), problem.test ? problem.test->size() : 0};
  return result;
}

ObjectiveRecord measure_objective(const Objective& objective) {
  auto [value, gradient] = objective.value_and_gradient();
  ObjectiveRecord record;
  record.value = value;
  Tensor exact = gradient.to(at::kDouble);
  record.gradient_norm = exact.norm().item<double>();
  for (const auto& parameter : objective.layout().parameters()) {
    double norm = exact.narrow(0, parameter.offset, parameter.size).norm().item<double>();
    std::string layer = parameter.name.substr(0, parameter.name.rfind('.'));  // the whole name without a dot
    auto same = [&](const auto& entry) { return entry.first == layer; };
    auto known = std::find_if(record.gradient_norms.begin(), record.gradient_norms.end(), same);
    if (known == record.gradient_norms.end()) {
      record.gradient_norms.emplace_back(layer, norm);
    } else {
      known->second = std::hypot(known->second, norm);
    }
  }
  if (!std::isfinite(value) || !std::isfinite(record.gradient_norm))
    fail(ErrorKind::numerical,
         fmt::format("the objective is not finite at the start: value {}, gradient norm {}",
                     format_number(value), format_number(record.gradient_norm)));
  return record;
}

}  // namespace osculant
