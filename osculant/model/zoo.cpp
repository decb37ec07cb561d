#include "osculant/model/zoo.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/nn.h>

#include <array>
#include <cmath>

#include "osculant/base/error.h"
#include "osculant/base/random.h"
#include "osculant/base/text.h"

namespace osculant {
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

constexpr std::array<std::pair<Initialization, std::string_view>, 5> initializations{
    {{Initialization::torch_default, "torch_default"},
     {Initialization::xavier, "xavier"},
     {Initialization::he, "he"},
     {Initialization::orthogonal, "orthogonal"},
     {Initialization::scaled, "scaled"}}};

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
  switch (activation) {
    case Activation::relu:
      return net->push_back(torch::nn::ReLU());
    case Activation::tanh:
      return net->push_back(torch::nn::Tanh());
    case Activation::sigmoid:
      return net->push_back(torch::nn::Sigmoid());
    case Activation::gelu:
      return net->push_back(torch::nn::GELU());
    case Activation::silu:
      return net->push_back(torch::nn::SiLU());
    case Activation::softplus:
      return net->push_back(torch::nn::Softplus());
    case Activation::elu:
      return net->push_back(torch::nn::ELU());
    case Activation::leaky_relu:
      return net->push_back(torch::nn::LeakyReLU());
    case Activation::identity:
      return net->push_back(torch::nn::Identity());
  }
}

// Fills weights and biases from a random stream of its own.
class Initializer {
 public:
  explicit Initializer(const InitializationOptions& options)
      : options_(options), random_(options.seed, "initialization") {}

  // weight [out, in, receptive field...]
  void operator()(Tensor weight, Tensor bias) {
    torch::NoGradGuard no_grad;
    auto field = static_cast<double>(weight.numel() / (weight.size(0) * weight.size(1)));
    double fan_in = static_cast<double>(weight.size(1)) * field,
           fan_out = static_cast<double>(weight.size(0)) * field;
    switch (options_.kind) {
      case Initialization::torch_default:
        uniform(weight, 1 / std::sqrt(fan_in));
        break;
      case Initialization::xavier:
        uniform(weight, std::sqrt(6 / (fan_in + fan_out)));
        break;
      case Initialization::he:
        normal(weight, 2 / fan_in);
        break;
      case Initialization::orthogonal:
        orthogonal(weight);
        break;
      case Initialization::scaled:
        normal(weight, options_.weight_variance / fan_in);
        break;
    }
    if (!bias.defined()) return;
    switch (options_.kind) {
      case Initialization::torch_default:
        uniform(bias, 1 / std::sqrt(fan_in));
        break;
      case Initialization::scaled:
        normal(bias, options_.bias_variance);
        break;
      default:
        bias.zero_();
    }
  }

 private:
  // Drawn in float64, so that a network is the same in every dtype up to rounding.
  void uniform(Tensor& w, double bound) {
    w.copy_((2 * random_.uniform(w.sizes(), at::kDouble) - 1) * bound);
  }
  void normal(Tensor& w, double variance) {
    w.copy_(random_.normal(w.sizes(), at::kDouble) * std::sqrt(variance));
  }

  // Q of a Gaussian matrix's QR with the signs of R's diagonal: uniform over orthonormal frames (Mezzadri
  // 2007).
  void orthogonal(Tensor& w) {
    int64_t rows = w.size(0), columns = w.numel() / rows;
    auto gaussian = random_.normal({std::max(rows, columns), std::min(rows, columns)}, at::kDouble);
    auto [q, r] = at::linalg_qr(gaussian);
    q = q * r.diagonal().sign();
    w.copy_((rows < columns ? q.t() : q).reshape(w.sizes()));
  }

  InitializationOptions options_;
  RandomStream random_;
};

// Building a module draws from libtorch's global generator; the zoo leaves it as it was.
class GlobalGeneratorKept {
 public:
  GlobalGeneratorKept() : state_(generator().get_state()) {}
  ~GlobalGeneratorKept() { generator().set_state(state_); }

 private:
  static at::Generator generator() { return at::globalContext().defaultGenerator(at::kCPU); }
  Tensor state_;
};

Model finish(torch::nn::Sequential net, const InitializationOptions& initialization, at::ScalarType dtype,
             at::Device device, const std::vector<int64_t>& example_shape) {
  Initializer initialize(initialization);
  for (const auto& module : *net) {
    if (auto* linear = module.ptr()->as<torch::nn::Linear>()) initialize(linear->weight, linear->bias);
    if (auto* conv = module.ptr()->as<torch::nn::Conv2d>()) initialize(conv->weight, conv->bias);
  }
  net->to(device, dtype);
  int64_t entries = 1;
  for (int64_t size : example_shape) entries *= size;
  return Model(
      net.ptr(), [raw = net.get(), example_shape, entries](const Model::Inputs& inputs) -> Model::Outputs {
        if (inputs.size() != 1) fail_data(fmt::format("model: takes one input, got {}", inputs.size()));
        const Tensor& x = inputs[0];
        int64_t examples = x.dim() > 0 ? x.size(0) : 0;
        if (x.dim() < 2 || x.numel() != examples * entries)
          fail_data(fmt::format("model: takes {} entries an example ([{}]), the input has shape [{}]",
                                entries, fmt::join(example_shape, ", "), fmt::join(x.sizes(), ", ")));
        std::vector<int64_t> shape{examples};
        shape.insert(shape.end(), example_shape.begin(), example_shape.end());
        return {raw->forward(x.reshape(shape))};
      });
}

void check_sizes(std::string_view field, const std::vector<int64_t>& sizes, size_t fewest) {
  bool positive = std::all_of(sizes.begin(), sizes.end(), [](int64_t size) { return size > 0; });
  if (sizes.size() < fewest || !positive)
    fail_option(field, fmt::format("[{}]", fmt::join(sizes, ", ")),
                fmt::format("at least {} sizes, each at least 1", fewest));
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
