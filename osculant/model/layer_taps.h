#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "osculant/tensor/parameter_layout.h"

namespace osculant {

enum class LayerKind { linear, convolution, embedding, normalization };
enum class ActivationKind { none, relu, tanh, sigmoid, other };

// A call in a forward pass that used a trainable weight, with the activation that followed it, if any.
struct LayerTap {
  std::string layer;      // "features.0"
  std::string parameter;  // "features.0.weight"
  std::string operation;  // "linear", "conv2d", "addmm", ...
  LayerKind kind = LayerKind::linear;
  int64_t unit_dimension = -1;  // of the output: channels of a convolution, the last elsewhere
  Tensor weight;                // the parameter itself
  Tensor input;                 // what the weight meets; indices for an embedding
  Tensor output;                // with its bias, before the activation; can be differentiated by
  ActivationKind activation_kind = ActivationKind::none;
  std::string activation = {};  // "relu", "gelu", ...; empty without one
  Tensor activated = {};        // the activation's output; undefined without one
};

// While one lives, the forward passes that its thread makes, of modules and of exported programs alike, leave
// a tap for every call that uses one of the layout's parameters as the weight of a linear map (linear, or a
// product with it or its transpose on the right), of a convolution, an embedding or a normalisation.
//
// Not seen: LSTM and GRU, which are one operator each, and weights that are computed from parameters before
// use (weight_norm). Calls that a backward pass makes are not taken for layers. One may live inside another:
// the inner one sees the calls.
//
// It uses a dispatch key that libtorch keeps for its own tests, since no other sees calls before they are
// taken apart. Where that key is taken there are no taps, and `note` says so.
class LayerTaps {
 public:
  explicit LayerTaps(const ParameterLayout& layout);
  ~LayerTaps();
  LayerTaps(const LayerTaps&) = delete;
  LayerTaps& operator=(const LayerTaps&) = delete;

  // In the order of the calls. Copy it: the next call makes references into it invalid.
  const std::vector<LayerTap>& list() const;
  const std::string& note() const;  // why layers cannot be observed; empty where they can

 private:
  class Recorder;
  std::unique_ptr<Recorder> recorder_;
};

}  // namespace osculant
