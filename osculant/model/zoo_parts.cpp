#include "osculant/model/zoo_parts.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/nn.h>

#include <algorithm>
#include <cmath>

#include "osculant/base/error.h"
#include "osculant/base/random.h"

namespace osculant::zoo_parts {
namespace {

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
      case Initialization::critical:  // begun as here, then drawn anew by the finished network
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
      case Initialization::critical:
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

  void embedding(Tensor weight) {
    torch::NoGradGuard no_grad;
    normal(weight, 1);
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

at::Generator global_generator() {
  return at::globalContext().defaultGenerator(at::kCPU);
}

}  // namespace

Tensor activated(Activation activation, const Tensor& x) {
  switch (activation) {
    case Activation::relu:
      return at::relu(x);
    case Activation::tanh:
      return at::tanh(x);
    case Activation::sigmoid:
      return at::sigmoid(x);
    case Activation::gelu:
      return at::gelu(x);
    case Activation::silu:
      return at::silu(x);
    case Activation::softplus:
      return at::softplus(x);
    case Activation::elu:
      return at::elu(x);
    case Activation::leaky_relu:
      return at::leaky_relu(x);
    case Activation::identity:
      return x;
  }
  return x;
}

GlobalGeneratorKept::GlobalGeneratorKept() : state_(global_generator().get_state()) {}

GlobalGeneratorKept::~GlobalGeneratorKept() {
  global_generator().set_state(state_);
}

void initialize(torch::nn::Module& module, const InitializationOptions& options) {
  Initializer initialize(options);
  for (const auto& part : module.modules(/*include_self=*/false)) {
    if (auto* linear = part->as<torch::nn::Linear>()) initialize(linear->weight, linear->bias);
    if (auto* conv = part->as<torch::nn::Conv2d>()) initialize(conv->weight, conv->bias);
    if (auto* embedding = part->as<torch::nn::Embedding>()) initialize.embedding(embedding->weight);
  }
}

const Tensor& only_input(const Model::Inputs& inputs) {
  if (inputs.size() != 1) fail_data(fmt::format("model: takes one input, got {}", inputs.size()));
  return inputs[0];
}

Tensor reshaped_input(const Model::Inputs& inputs, const std::vector<int64_t>& example_shape) {
  const Tensor& x = only_input(inputs);
  int64_t entries = 1, examples = x.dim() > 0 ? x.size(0) : 0;
  for (int64_t size : example_shape) entries *= size;
  if (x.dim() < 2 || x.numel() != examples * entries)
    fail_data(fmt::format("model: takes {} entries an example ([{}]), the input has shape [{}]", entries,
                          fmt::join(example_shape, ", "), fmt::join(x.sizes(), ", ")));
  std::vector<int64_t> shape{examples};
  shape.insert(shape.end(), example_shape.begin(), example_shape.end());
  return x.reshape(shape);
}

void check_branching(const InitializationOptions& options) {
  options.check();
  if (options.kind == Initialization::critical)
    fail_option("initialization", "critical",
                "one for networks with branches: critical is for mlp, autoencoder and cnn");
}

void check_sizes(std::string_view field, const std::vector<int64_t>& sizes, size_t fewest) {
  bool positive = std::all_of(sizes.begin(), sizes.end(), [](int64_t size) { return size > 0; });
  if (sizes.size() < fewest || !positive)
    fail_option(field, fmt::format("[{}]", fmt::join(sizes, ", ")),
                fmt::format("at least {} sizes, each at least 1", fewest));
}

}  // namespace osculant::zoo_parts
