#include "osculant/model/zoo.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/nn.h>

#include <array>

#include "osculant/base/error.h"
#include "osculant/base/text.h"
#include "osculant/model/plain_stack.h"
#include "osculant/model/zoo_parts.h"

namespace osculant {

using namespace zoo_parts;

namespace {

constexpr std::array<std::pair<Activation, std::string_view>, 9> activations{
    {{Activation::relu, "relu"},
     {Activation::tanh, "tanh"},
     {Activation::sigmoid, "sigmoid"},
     {Activation::gelu, "gelu"},
     {Activation::silu, "silu"},
     {Activation::softplus, "softplus"},
     {Activation::elu, "elu"},
     {Activation::leaky_relu, "leaky_relu"},
     {Activation::identity, "identity"}}};

constexpr std::array<std::pair<Initialization, std::string_view>, 6> initializations{
    {{Initialization::torch_default, "torch_default"},
     {Initialization::xavier, "xavier"},
     {Initialization::he, "he"},
     {Initialization::orthogonal, "orthogonal"},
     {Initialization::critical, "critical"},
     {Initialization::scaled, "scaled"}}};

constexpr std::array<std::pair<Norm, std::string_view>, 4> norms{
    {{Norm::group, "group"}, {Norm::layer, "layer"}, {Norm::batch, "batch"}, {Norm::none, "none"}}};

template <class Table>
auto parse(const Table& table, std::string_view field, std::string_view text) {
  std::vector<std::string> names;
  for (const auto& [value, name] : table) {
    if (name == text) return value;
    names.emplace_back(name);
  }
  fail_option(field, fmt::format("\"{}\"", text),
              fmt::format("one of {}{}", fmt::join(names, ", "), did_you_mean(text, names)));
}

template <class Table, class Value>
std::string_view name_in(const Table& table, Value value) {
  for (const auto& [entry, name] : table)
    if (entry == value) return name;
  return "?";
}

void push_activation(torch::nn::Sequential& net, Activation activation) {
  net->push_back(torch::nn::Functional([activation](const Tensor& x) { return activated(activation, x); }));
}

Model finish(torch::nn::Sequential net, const InitializationOptions& initialization, at::ScalarType dtype,
             at::Device device, const std::vector<int64_t>& example_shape) {
  initialize(*net, initialization);
  net->to(device, dtype);
  Model model(net.ptr(), [raw = net.get(), example_shape](const Model::Inputs& inputs) -> Model::Outputs {
    return {raw->forward(reshaped_input(inputs, example_shape))};
  });
  if (initialization.kind == Initialization::critical) {
    std::vector<int64_t> shape{1};
    shape.insert(shape.end(), example_shape.begin(), example_shape.end());
    Batch one{{{"", at::zeros(shape, model.layout().options())}}, {}, {}};
    model.layout().assign(critical_parameters(model, plain_stack(model, one), initialization.seed));
  }
  return model;
}

}  // namespace

Activation parse_activation(std::string_view name) {
  return parse(activations, "activation", name);
}
std::string_view name_of(Activation activation) {
  return name_in(activations, activation);
}
Initialization parse_initialization(std::string_view name) {
  return parse(initializations, "initialization", name);
}
std::string_view name_of(Initialization initialization) {
  return name_in(initializations, initialization);
}

Norm parse_norm(std::string_view name) {
  return parse(norms, "norm", name);
}
std::string_view name_of(Norm norm) {
  return name_in(norms, norm);
}

void InitializationOptions::check() const {
  require_positive("weight_variance", weight_variance);
  require_non_negative("bias_variance", bias_variance);
}

void MlpOptions::check() const {
  check_sizes("widths", widths, 2);
  initialization.check();
}

void AutoencoderOptions::check() const {
  check_sizes("widths", widths, 2);
  initialization.check();
}

void CnnOptions::check() const {
  check_sizes("input", {channels, height, width}, 3);
  check_sizes("filters", filters, 1);
  check_sizes("hidden, outputs", {hidden, outputs}, 2);
  int64_t least = int64_t{1} << std::min<size_t>(filters.size(), 32);
  if (std::min(height, width) < least)
    fail_option("filters", fmt::format("[{}]", fmt::join(filters, ", ")),
                fmt::format("few enough that {} x {} inputs can be halved as often", height, width));
  initialization.check();
}

Model mlp(const MlpOptions& options) {
  options.check();
  GlobalGeneratorKept kept;
  torch::nn::Sequential net;
  const auto& widths = options.widths;
  for (size_t i = 0; i + 1 < widths.size(); ++i) {
    net->push_back(torch::nn::Linear(torch::nn::LinearOptions(widths[i], widths[i + 1]).bias(options.bias)));
    if (i + 2 < widths.size()) push_activation(net, options.activation);
  }
  return finish(net, options.initialization, options.dtype, options.device, {widths.front()});
}

Model autoencoder(const AutoencoderOptions& options) {
  options.check();
  GlobalGeneratorKept kept;
  torch::nn::Sequential net;
  std::vector<int64_t> widths = options.widths;
  widths.insert(widths.end(), options.widths.rbegin() + 1, options.widths.rend());
  const size_t code = options.widths.size() - 1;
  for (size_t i = 1; i < widths.size(); ++i) {
    net->push_back(torch::nn::Linear(torch::nn::LinearOptions(widths[i - 1], widths[i]).bias(options.bias)));
    if (i != code && i + 1 < widths.size()) push_activation(net, options.activation);
  }
  return finish(net, options.initialization, options.dtype, options.device, {widths.front()});
}

Model cnn(const CnnOptions& options) {
  options.check();
  GlobalGeneratorKept kept;
  torch::nn::Sequential net;
  int64_t channels = options.channels, height = options.height, width = options.width;
  for (int64_t filters : options.filters) {
    net->push_back(torch::nn::Conv2d(torch::nn::Conv2dOptions(channels, filters, 3).padding(1)));
    if (options.batch_norm) net->push_back(torch::nn::BatchNorm2d(filters));
    push_activation(net, options.activation);
    net->push_back(torch::nn::MaxPool2d(2));
    channels = filters;
    height /= 2;
    width /= 2;
  }
  net->push_back(torch::nn::Flatten());
  net->push_back(torch::nn::Linear(channels * height * width, options.hidden));
  push_activation(net, options.activation);
  net->push_back(torch::nn::Linear(options.hidden, options.outputs));
  return finish(net, options.initialization, options.dtype, options.device,
                {options.channels, options.height, options.width});
}

}  // namespace osculant
