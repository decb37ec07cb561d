#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "osculant/tensor/parameter_layout.h"

namespace osculant {

enum class LayerKind { linear, convolution, embedding, normalization, bias };
enum class ActivationKind { none, relu, tanh, sigmoid, other };
const char* name_of(LayerKind kind);

// The stretch of theta that a call uses: a parameter, or rows of one (a slice of its first dimension).
struct ParameterPart {
  std::string name;            // "attention.in_proj_weight"
  size_t index = 0;            // of the parameter in its layout
  int64_t offset = 0;          // in theta
  std::vector<int64_t> shape;  // of the part as it lies in theta
  int64_t size() const;        // product of shape
  bool overlaps(const ParameterPart& other) const;
};

// By spatial dimension. out[o] meets in[o stride + k dilation - padding_before], k = 0, 1, ... in the kernel.
struct ConvolutionGeometry {
  std::vector<int64_t> stride, dilation, padding_before, padding_after;
  int64_t groups = 1;
};

// A call in a forward pass that used a trainable weight, with the activation that followed it, if any.
struct LayerTap {
  std::string layer;      // "features.0"
  std::string parameter;  // "features.0.weight"
  std::string operation;  // "linear", "conv2d", "addmm", ...
  LayerKind kind = LayerKind::linear;
  int64_t unit_dimension = -1;  // of the output: channels of a convolution, the last elsewhere
  Tensor weight;                // the parameter itself
  Tensor input;                 // what the weight meets; indices for an embedding; the sum for a bias
  Tensor output;                // with its bias, before the activation; can be differentiated by
  ActivationKind activation_kind = ActivationKind::none;
  std::string activation = {};  // "relu", "gelu", ...; empty without one
  Tensor activated = {};        // the activation's output; undefined without one

  // What closed forms need. Of a part of kind bias the shape is the one it is broadcast from.
  ParameterPart part = {};                       // that the weight is
  std::optional<ParameterPart> bias = {};        // joined to it: in the same call, or added apart
  bool transposed = false;                       // linear: the part is [in, out] in place of [out, in]
  ConvolutionGeometry convolution = {};          //
  std::function<Tensor()> normalized = nullptr;  // normalisation: its output without weight and bias
  std::optional<int64_t> padding_index = {};     // embedding: of the row that learns nothing
  Tensor product = {};                           // the output without its bias where that was added apart
};

// A parameter whose part in the outputs the taps do not tell, or not all of it.
struct UntappedParameter {
  size_t index;  // in the layout
  std::string name;
  std::string reason;  // "used by mul", "no call uses it", ...
};

// While one lives, the forward passes that its thread makes, of modules and of exported programs alike, leave
// a tap for every call that uses one of the layout's parameters as the weight of a linear map (linear, or a
// product with it or its transpose on the right), of a convolution, an embedding or a normalisation, or adds
// it as a bias. Whole parameters are recognised, and slices of their first dimension.
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
  // Parameters with a use that no tap describes, among them any use in a derivative taken during the pass; a
  // tap that names one tells a part of the truth. Other parameters are used by the taps in the list alone.
  std::vector<UntappedParameter> untapped() const;
  const std::string& note() const;  // why layers cannot be observed; empty where they can

 private:
  class Recorder;
  std::unique_ptr<Recorder> recorder_;
};

}  // namespace osculant
