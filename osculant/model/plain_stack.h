#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "osculant/model/layer_taps.h"
#include "osculant/model/model.h"
#include "osculant/model/signal_propagation.h"

namespace osculant {

// A linear layer or convolution of a plain stack, as its weights are now.
struct StackLayer {
  std::string name;
  ParameterPart weight;
  std::optional<ParameterPart> bias;
  bool transposed = false;        // the weight lies as [in, out]
  int64_t fan_in = 0;             // entries that feed a unit
  std::string before, after;      // activations; empty: none
  StackInitialization variances;  // fan_in times the weights' mean square, and the biases' mean square
};

// A network whose layers follow each other, an activation between each two, without branches and
// normalisation: what signal_propagation speaks of.
struct PlainStack {
  std::vector<StackLayer> layers;
  std::string why_not;  // why the network is none; empty where it is one

  // The activation between all layers but those without one; empty where there are several, or none.
  std::string activation() const;
  // Means over the layers that come after an activation, weighted alike.
  StackInitialization variances() const;
};

// From a forward pass of the examples, in the model's present mode. Pooling and flattening may come between
// convolutions and what follows them.
PlainStack plain_stack(const Model& model, const Batch& examples);

// theta [n] with every layer's weights and biases drawn anew at the critical point of the activation before
// it, of the first layer of that behind it: normal, of variances s_w^2 / fan_in and s_b^2. Parameters of no
// layer keep their values. Layers beside a sigmoid get tanh's weights in sigmoid's coordinates: with h =
// tanh(u) = 2 sigmoid(2u) - 1
//
//   before a sigmoid  W <- 2 W, b <- 2 b       after one  W <- 2 W, b <- b - W 1 (W as drawn).
//
// Throws Error(usage) where the network is no plain stack, for an activation that has no critical point, and
// for a layer after a sigmoid without biases.
Tensor critical_parameters(const Model& model, const PlainStack& stack, uint64_t seed);

}  // namespace osculant
