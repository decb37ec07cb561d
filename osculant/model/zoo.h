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
// but for torch_default, critical and scaled.
enum class Initialization {
  torch_default,  // weights and biases uniform on +- 1/sqrt(fan_in)
  xavier,         // uniform, variance 2/(fan_in + fan_out)     (Glorot & Bengio 2010, eq. 16)
  he,             // normal, variance 2/fan_in                  (He et al. 2015, eq. 10)
  orthogonal,     // rows or columns orthonormal                (Saxe et al. 2014)
  critical,       // gradients neither vanish nor explode with depth: critical_parameters (plain_stack.h)
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

// What stands behind a convolution. Batch norm in training mode makes an example's output depend on the rest
// of its batch: the loss is then no sum over examples, its curvature changes with the batch size, and methods
// that form it from parts of a batch are refused. Group norm works on one example at a time and keeps all of
// that exact; it trains residual networks as well (Wu & He 2018).
enum class Norm {
  group,  // over groups of channels: as many groups as divide both 8 and the channels
  layer,  // over all channels and pixels: one group
  batch,  // over the examples of a batch (Ioffe & Szegedy 2015); by its running statistics in eval mode
  none,   // none; the convolutions have biases then
};
Norm parse_norm(std::string_view name);
std::string_view name_of(Norm norm);

// A residual network for small images (He et al. 2016, section 4.2): a 3 x 3 convolution, stages of basic
// blocks (two 3 x 3 convolutions, each with its norm, round a shortcut; the first of every stage but the
// first halves the image, its shortcut a 1 x 1 convolution), the mean over pixels, and a linear layer: 2 + 2
// blocks (number of stages) layers. Inputs [N, channels, height, width], or any shape with as many entries an
// example. CIFAR-10's are 3, 32, 32.
struct ResnetOptions {
  int64_t channels = 1, height = 28, width = 28;
  std::vector<int64_t> filters = {16, 32, 64};  // channels of each stage
  int64_t blocks = 1;                           // of each stage; 3 is the paper's ResNet-20
  int64_t outputs = 10;
  Activation activation = Activation::relu;
  Norm norm = Norm::group;
  InitializationOptions initialization = {};
  at::ScalarType dtype = at::kFloat;
  at::Device device = at::kCPU;
  void check() const;
};
Model resnet(const ResnetOptions& options = {});

// A decoder of text (Radford et al. 2019): embeddings of tokens and positions added up; blocks
// x + attention(norm(x)), x + mlp(norm(x)) with causal attention of several heads and a hidden layer four
// times as wide; a norm and a linear head. Query, key and value have no bias: softmax is invariant to that of
// the key, which would be a null space of every curvature matrix.
//
// Inputs int64 [N, T], T <= context, entries in [0, vocabulary). Outputs [N, vocabulary, T], logits of the
// token that follows each position: the shape CrossEntropy takes with targets [N, T], whose value is then the
// mean over positions. Embeddings begin standard normal, whatever the initialisation.
struct TransformerOptions {
  int64_t vocabulary = 128;
  int64_t context = 64;
  int64_t width = 64;  // a multiple of heads
  int64_t layers = 2;
  int64_t heads = 4;
  Activation activation = Activation::gelu;
  InitializationOptions initialization = {};
  at::ScalarType dtype = at::kFloat;
  at::Device device = at::kCPU;
  void check() const;
};
Model transformer(const TransformerOptions& options = {});

}  // namespace osculant
