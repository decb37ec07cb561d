#include "osculant/study/load_data.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string>
#include <utility>
#include <vector>

#include "osculant/base/error.h"
#include "osculant/data/csv.h"
#include "osculant/data/fashion_mnist.h"
#include "osculant/data/idx.h"
#include "osculant/data/safetensors_dataset.h"
#include "osculant/data/synthetic.h"
#include "osculant/data/text_dataset.h"

namespace osculant {
namespace {

void require_given(const std::string& value, const char* key, const std::string& kind) {
  if (value.empty()) fail_usage(fmt::format("{} is not given, and data.kind is {}", key, kind));
}

// IDX files hold grey images [N, H, W] as the MNIST family has them: one channel.
Dataset idx_data(const std::string& images, const std::string& labels) {
  at::Tensor pixels = load_idx(images);
  if (pixels.dim() == 3) pixels = pixels.unsqueeze(1);
  at::Tensor classes = load_idx(labels).to(at::kLong);
  if (pixels.size(0) != classes.size(0))
    fail_data(
        fmt::format("{} has {} examples, and {} has {}", images, pixels.size(0), labels, classes.size(0)));
  return Dataset(pixels.to(at::kFloat), classes);
}

// Data made by a rule; nothing when the kind names files.
std::optional<Dataset> synthetic_data(const DataConfig& data, uint64_t seed) {
  if (data.kind == "teacher") {
    synthetic::TeacherOptions options;
    options.examples = data.examples.value_or(options.examples);
    options.inputs = data.inputs.value_or(options.inputs);
    options.hidden = data.hidden.value_or(options.hidden);
    options.outputs = data.outputs.value_or(options.outputs);
    options.noise = data.noise.value_or(options.noise);
    options.seed = seed;
    return synthetic::teacher(options);
  }
  if (data.kind == "mixture") {
    synthetic::MixtureOptions options;
    options.examples = data.examples.value_or(options.examples);
    options.features = data.inputs.value_or(options.features);
    options.classes = data.outputs.value_or(options.classes);
    options.separation = data.separation.value_or(options.separation);
    options.seed = seed;
    return synthetic::gaussian_mixture(options);
  }
  if (data.kind == "sine") return synthetic::sine(data.examples.value_or(41));
  if (data.kind == "sinc") return synthetic::sinc(data.examples.value_or(2000), seed);
  if (data.kind == "parity") return synthetic::parity(data.inputs.value_or(2));
  return std::nullopt;
}

CsvOptions csv_options(const RunConfig& config) {
  const DataConfig& data = config.data;
  return {data.target, data.ignore, data.classes.value_or(config.loss.kind == "cross_entropy"), {}};
}

void refuse_keys_of_other_kinds(const RunConfig& config) {
  const DataConfig& data = config.data;
  auto refuse = [&](bool given, const char* key, const char* of) {
    if (given && data.kind != of)
      fail_usage(fmt::format("{}: belongs to data.kind {}, and it is {}", config.origin(key), of, data.kind));
  };
  refuse(!data.target.empty(), "data.target", "csv");
  refuse(!data.ignore.empty(), "data.ignore", "csv");
  refuse(data.classes.has_value(), "data.classes", "csv");
  refuse(data.context.has_value(), "data.context", "text");
  refuse(data.stride.has_value(), "data.stride", "text");
}

// Tables, whose test data have the classes of the training data.
std::pair<Dataset, std::optional<Dataset>> csv_data(const RunConfig& config) {
  const DataConfig& data = config.data;
  require_given(data.path, "data.path", data.kind);
  CsvOptions options = csv_options(config);
  CsvTable train = load_csv(data.path, options);
  if (data.test.empty() || data.test == "split") return {train.data, std::nullopt};
  options.class_names = train.classes;
  CsvTable test = load_csv(data.test, options);
  if (test.inputs != train.inputs)
    fail_data(fmt::format("{}: its columns of inputs are {}, and in {} they are {}", data.test,
                          fmt::join(test.inputs, ", "), data.path, fmt::join(train.inputs, ", ")));
  return {train.data, test.data};
}

// A text, divided before examples are cut from it; another text for testing has the training text's alphabet.
// A transformer whose size was left open gets the data's.
std::pair<Dataset, std::optional<Dataset>> text_data(RunConfig& config) {
  DataConfig& data = config.data;
  if (data.path.empty()) data.path = kDefaultText;
  TextOptions options;
  options.context = data.context.value_or(options.context);
  options.stride = data.stride.value_or(0);
  if (data.test == "split") options.test_share = data.test_share.value_or(0.2);
  TextData text = load_text(data.path, options);
  if (!data.test.empty() && data.test != "split") {
    options.alphabet = text.alphabet;
    text.test = load_text(data.test, options).train;
  }
  if (config.model.kind == "transformer") {
    if (!config.model.vocabulary) config.model.vocabulary = static_cast<int64_t>(text.alphabet.size());
    if (!config.model.context) config.model.context = options.context;
  }
  return {text.train, text.test};
}

Dataset training_data(const DataConfig& data, uint64_t seed) {
  if (auto made = synthetic_data(data, seed)) return *made;
  if (data.kind == "fashion_mnist") return fashion_mnist(Split::train, data.path);
  require_given(data.path, "data.path", data.kind);
  if (data.kind == "safetensors") return load_dataset(data.path);
  require_given(data.labels, "data.labels", data.kind);
  return idx_data(data.path, data.labels);
}

// Test data of its own: a file, or the data set's split.
std::optional<Dataset> test_data(const DataConfig& data) {
  if (data.kind == "fashion_mnist" && data.test == "split") return fashion_mnist(Split::test, data.path);
  if (data.test.empty() || data.test == "split") return std::nullopt;
  if (data.kind != "idx") return load_dataset(data.test);
  require_given(data.test_labels, "data.test_labels", data.kind);
  return idx_data(data.test, data.test_labels);
}

// What is done to training and test data alike.
Dataset transformed(Dataset examples, const DataConfig& data,
                    const std::optional<Normalization>& normalization) {
  if (data.average_pool) examples = examples.average_pooled(*data.average_pool);
  if (data.scale) examples = examples.scaled(*data.scale);
  if (normalization) examples = examples.normalized(*normalization);
  if (data.flatten.value_or(false)) examples = examples.flattened();
  if (data.autoencode.value_or(false)) examples = examples.flattened().autoencoding();
  return examples;
}

std::optional<Normalization> normalization_of(const Dataset& train, const DataConfig& data) {
  if (!data.normalize.value_or(false)) return std::nullopt;
  DataConfig before;
  before.average_pool = data.average_pool;
  before.scale = data.scale;
  return transformed(train, before, {}).normalization();
}

}  // namespace

std::pair<Dataset, std::optional<Dataset>> load_data(RunConfig& config, uint64_t seed) {
  const DataConfig& data = config.data;
  auto [train, test] = [&]() -> std::pair<Dataset, std::optional<Dataset>> {
    refuse_keys_of_other_kinds(config);
    if (data.kind == "csv") return csv_data(config);
    if (data.kind == "text") return text_data(config);
    return {training_data(data, seed), test_data(data)};
  }();
  if (data.shuffle.value_or(false)) train = train.shuffled(seed);
  if (data.test == "split" && !test) {
    auto [first, last] = train.split(1 - data.test_share.value_or(0.2));
    train = first;
    test = last;
  }
  if (data.take) train = train.take(*data.take);
  if (test && data.test_take) test = test->take(*data.test_take);
  auto normalization = normalization_of(train, data);
  if (test) test = transformed(*test, data, normalization);
  return {transformed(train, data, normalization), test};
}

}  // namespace osculant
