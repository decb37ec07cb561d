#include "osculant/study/build_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "osculant/base/error.h"
#include "osculant/io/safetensors.h"
#include "osculant/model/exported_program.h"
#include "osculant/model/zoo.h"

namespace osculant {
namespace {

// A key that means nothing for this kind of network is a mistake, not something to pass over.
void require_only(const RunConfig& config, const std::vector<std::string>& meant) {
  static const std::vector<std::string> always{"model.kind", "model.freeze", "model.parameters",
                                               "model.mode"};
  for (const auto& [key, value] : config.values()) {
    if (!key.starts_with("model.")) continue;
    auto in = [&key = key](const auto& list) {
      return std::find(list.begin(), list.end(), key) != list.end();
    };
    if (!in(always) && !in(meant))
      fail_usage(fmt::format("{} = {}: means nothing for model.kind = \"{}\"", config.origin(key), value,
                             config.model.kind));
  }
}

InitializationOptions initialization(const ModelConfig& model, uint64_t seed) {
  InitializationOptions options;
  if (!model.initialization.empty()) options.kind = parse_initialization(model.initialization);
  options.weight_variance = model.weight_variance.value_or(options.weight_variance);
  options.bias_variance = model.bias_variance.value_or(options.bias_variance);
  options.seed = seed;
  return options;
}

template <class Options>
Options fully_connected(const RunConfig& config, at::Device device, at::ScalarType dtype, uint64_t seed) {
  require_only(config, {"model.widths", "model.activation", "model.bias", "model.initialization",
                        "model.weight_variance", "model.bias_variance"});
  const ModelConfig& model = config.model;
  if (model.widths.empty())
    fail_usage(fmt::format("model.widths is not given, and model.kind is {}", model.kind));
  Options options;
  options.widths = model.widths;
  if (!model.activation.empty()) options.activation = parse_activation(model.activation);
  options.bias = model.bias.value_or(true);
  options.initialization = initialization(model, seed);
  options.dtype = dtype;
  options.device = device;
  return options;
}

template <class Options>
void read_input(const RunConfig& config, Options& options) {
  const auto& input = config.model.input;
  if (input.empty()) return;
  if (input.size() != 3)
    fail_usage(fmt::format("{}: must be channels, height and width", config.origin("model.input")));
  options.channels = input[0], options.height = input[1], options.width = input[2];
}

CnnOptions convolutional(const RunConfig& config, at::Device device, at::ScalarType dtype, uint64_t seed) {
  require_only(config,
               {"model.input", "model.filters", "model.hidden", "model.outputs", "model.batch_norm",
                "model.activation", "model.initialization", "model.weight_variance", "model.bias_variance"});
  const ModelConfig& model = config.model;
  CnnOptions options;
  read_input(config, options);
  if (!model.filters.empty()) options.filters = model.filters;
  options.hidden = model.hidden.value_or(options.hidden);
  options.outputs = model.outputs.value_or(options.outputs);
  options.batch_norm = model.batch_norm.value_or(false);
  if (!model.activation.empty()) options.activation = parse_activation(model.activation);
  options.initialization = initialization(model, seed);
  options.dtype = dtype;
  options.device = device;
  return options;
}

ResnetOptions residual(const RunConfig& config, at::Device device, at::ScalarType dtype, uint64_t seed) {
  require_only(config,
               {"model.input", "model.filters", "model.blocks", "model.outputs", "model.norm",
                "model.activation", "model.initialization", "model.weight_variance", "model.bias_variance"});
  const ModelConfig& model = config.model;
  ResnetOptions options;
  read_input(config, options);
  if (!model.filters.empty()) options.filters = model.filters;
  options.blocks = model.blocks.value_or(options.blocks);
  options.outputs = model.outputs.value_or(options.outputs);
  if (!model.norm.empty()) options.norm = parse_norm(model.norm);
  if (!model.activation.empty()) options.activation = parse_activation(model.activation);
  options.initialization = initialization(model, seed);
  options.dtype = dtype;
  options.device = device;
  return options;
}

TransformerOptions decoder(const RunConfig& config, at::Device device, at::ScalarType dtype, uint64_t seed) {
  require_only(config,
               {"model.vocabulary", "model.context", "model.width", "model.layers", "model.heads",
                "model.activation", "model.initialization", "model.weight_variance", "model.bias_variance"});
  const ModelConfig& model = config.model;
  if (!model.vocabulary)
    fail_usage("model.vocabulary is not given, model.kind is transformer, and the data are no text");
  TransformerOptions options;
  options.vocabulary = *model.vocabulary;
  options.context = model.context.value_or(options.context);
  options.width = model.width.value_or(options.width);
  options.layers = model.layers.value_or(options.layers);
  options.heads = model.heads.value_or(options.heads);
  if (!model.activation.empty()) options.activation = parse_activation(model.activation);
  options.initialization = initialization(model, seed);
  options.dtype = dtype;
  options.device = device;
  return options;
}

Model exported(const RunConfig& config, at::Device device, at::ScalarType dtype) {
  require_only(config, {"model.path"});
  if (config.model.path.empty()) fail_usage("model.path is not given, and model.kind is exported");
  ExportedOptions options;
  options.device = device;
  options.dtype = dtype;
  try {
    return load_exported(config.model.path, options);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::usage) throw;
    fail_data(fmt::format("{}: {}", config.model.path, error.what()));  // the file's fault here: mixed dtypes
  }
}

void load_weights(const Model& model, const std::string& path) {
  auto weights = load_safetensors(path);
  try {
    model.load_state(weights.tensors);
  } catch (const Error& error) {
    fail(error.kind(), fmt::format("{}: {}", path, error.what()));
  }
}

}  // namespace

Model build_model(const RunConfig& config, at::Device device, at::ScalarType dtype, uint64_t seed) {
  auto make = [&]() -> Model {
    if (config.model.kind == "mlp") return mlp(fully_connected<MlpOptions>(config, device, dtype, seed));
    if (config.model.kind == "autoencoder")
      return autoencoder(fully_connected<AutoencoderOptions>(config, device, dtype, seed));
    if (config.model.kind == "cnn") return cnn(convolutional(config, device, dtype, seed));
    if (config.model.kind == "resnet") return resnet(residual(config, device, dtype, seed));
    if (config.model.kind == "transformer") return transformer(decoder(config, device, dtype, seed));
    return exported(config, device, dtype);
  };
  Model model = make();
  if (!config.model.freeze.empty()) model = model.with_frozen(config.model.freeze);
  if (!config.model.parameters.empty()) load_weights(model, config.model.parameters);
  return model;
}

}  // namespace osculant
