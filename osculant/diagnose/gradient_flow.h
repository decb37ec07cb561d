#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "osculant/objective/objective.h"
#include "osculant/spectrum/functions.h"

namespace osculant {

// The norm of a layer's ("0", "features.2") own block of a curvature matrix, with its interval.
struct LayerCurvature {
  std::string layer;
  Measured norm;
};

// Thresholds of the verdict. u is the unit roundoff of the parameters' dtype: 6e-8 in float32.
struct GradientFlowOptions {
  int64_t batches = 0;       // of the objective's data; 0 is all
  double saturation = 1e-2;  // a tanh or sigmoid unit is saturated whose derivative is below this on average
  double noise_factor = 16;  // what is below this times u times its scale is rounding
  double saturated_share = 0.5;  // of units, averaged over layers, from which the network counts as saturated
  double flat_factor = 1e-4;     // a curvature block is flat that is below this times the median block

  // For the verdict flat_but_alive; without them it is not considered.
  std::vector<LayerCurvature> curvature = {};

  void check() const;
};

// What a layer multiplies a quantity by, with a 95 % interval; NaN where fewer than 3 layers say so.
struct LayerRatio {
  double value, low, high;
  int64_t layers = 0;  // ratios of neighbours that it rests on
};

// One call of a layer, in the order of the forward pass. NaN is not known, or does not apply.
struct LayerFlow {
  std::string name;         // "features.0", and "features.0 (2)" for a second call
  std::string operation;    // "linear", "conv2d", ...
  std::string activation;   // that follows; empty without one
  double forward_variance;  // of the output over examples, each entry round its own mean; mean over entries
  double scale;             // root mean square of the output
  double backward_norm;     // sqrt(mean over examples of |d loss of the example / d output|^2)
  double gradient_ratio;    // |d f / d parameters| / |parameters| of the layer, regularisers left out
  double dead;              // share of relu units that are 0 on every example
  double saturated;         // share of tanh or sigmoid units that are saturated
};

enum class FlowVerdict { healthy, dead_signal, exploding, flat_but_alive, unknown };
const char* name_of(FlowVerdict verdict);
bool nothing_gets_through(FlowVerdict verdict);  // no method trains such a network: dead_signal, exploding

struct GradientFlow {
  FlowVerdict verdict = FlowVerdict::unknown;
  std::string words;  // the verdict in sentences, with its numbers and thresholds
  // By linear and convolutional layers without the first and the last, which meet other sizes, and without
  // those whose signal is rounding.
  LayerRatio forward_ratio;   // of forward_variance, a layer onward
  LayerRatio backward_ratio;  // of backward_norm, a layer backward
  std::vector<LayerFlow> layers;
  int64_t examples = 0;
  std::string note;  // what could not be observed

  std::string report() const;  // the words, the ratios, a table
};

// How differences between inputs get through the network, and gradients back. One gradient over the data, at
// the present parameters and in the model's present mode (docs/gradient-flow.md).
//
// Of an objective with several terms the first is looked at. Layers are those that LayerTaps sees; the first
// dimension of an output is taken for the example.
//
// The logarithm of either quantity is modelled as a random walk with drift over depth, since each layer
// multiplies what the one before it left: the drift is the mean log ratio of neighbours, its interval
// Student's t. (A line fitted to the logarithms has correlated residuals, and an interval much too narrow.)
GradientFlow gradient_flow(const Objective& objective, const GradientFlowOptions& options = {});

// The verdict with curvature that was measured afterwards: what seemed healthy is flat_but_alive where blocks
// are flat beyond doubt.
void consider_curvature(GradientFlow& flow, const std::vector<LayerCurvature>& curvature,
                        const GradientFlowOptions& options = {});

}  // namespace osculant
