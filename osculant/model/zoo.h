#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "osculant/model/model.h"

namespace osculant {

// Networks to begin with. Parameters have the names of torch's Sequential: "0.weight", "0.bias", "2.weight".

enum class Activation { relu, tanh, sigmoid, gelu, silu, softplus, elu, leaky_relu, identity };
Activation parse_activation(std::string_view name);  // throws Error(usage) naming the nearest
std::string_view name_of(Activation activation);

// How weights begin; fan_in and fan_out are the entries that feed and that leave a unit. Biases begin at 0
// but for torch_default and scaled.
enum class Initialization {
  torch_default,  // weights and biases uniform on +- 1/sqrt(fan_in)
  xavier,         // uniform, variance 2/(fan_in + fan_out)     (Glorot & Bengio 2010, eq. 16)
  he,             // normal, variance 2/fan_in                  (He et al. 2015, eq. 10)
  orthogonal,     // rows or columns orthonormal                (Saxe et al. 2014)
  scaled,         // normal, variance weight_variance/fan_in; biases normal, variance bias_variance
};
Initialization parse_initialization(std::string_view name);
std::string_view name_of(Initialization initialization);

struct InitializationOptions {
  Initialization kind = Initialization::torch_default;
  double weight_variance = 1;  // of `scaled`: s_w^2 and s_b^2 of the mean field theory
  double bias_variance = 0;
  uint64_t seed = 0;
  void check() const;
};

// Fully connected: an activation after every layer but the last. Inputs [N, widths[0]], or any [N, d...] with
// as many entries an example, which are flattened.
struct MlpOptions {
  std::vector<int64_t> widths = {784, 128, 10};
  Activation activation = Activation::relu;
  bool bias = true;
  InitializationOptions initialization = {};
  at::ScalarType dtype = at::kFloat;
  at::Device device = at::kCPU;
  void check() const;
};
Model mlp(const MlpOptions& options = {});

// An encoder through `widths` to a linear code, its mirror image as decoder, linear outputs (logits).
struct AutoencoderOptions {
  std::vector<int64_t> widths = {196, 100, 50, 20, 6};  // inputs first, the code last
  Activation activation = Activation::sigmoid;
  bool bias = true;
  InitializationOptions initialization = {};
  at::ScalarType dtype = at::kFloat;
  at::Device device = at::kCPU;
  void check() const;
};
Model autoencoder(const AutoencoderOptions& options = {});

// Blocks of 3 x 3 convolution with padding 1, (batch norm,) activation and 2 x 2 max pooling, then one hidden
// layer and the outputs. Inputs [N, channels, height, width], or any shape with as many entries an example.
struct CnnOptions {
  int64_t channels = 1, height = 28, width = 28;
  std::vector<int64_t> filters = {16, 32};
  int64_t hidden = 64;
  int64_t outputs = 10;
  Activation activation = Activation::relu;
  bool batch_norm = false;
  InitializationOptions initialization = {};
  at::ScalarType dtype = at::kFloat;
  at::Device device = at::kCPU;
  void check() const;
};
Model cnn(const CnnOptions& options = {});

}  // namespace osculant
