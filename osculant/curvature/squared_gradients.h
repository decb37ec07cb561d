#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "osculant/curvature/layer_sample.h"

namespace osculant {

// The mean over examples of the squares of each example's gradient, entry by entry, exactly and at the price
// of one more gradient: for a layer that is used once an example, sum over i of d_i^2 (a_i^2)', one product
// of matrices (Martens 2010, section 4.7, needs it; Goodfellow 2015 has the form). Those of several terms add
// up, as Linearization::mean_squared_gradients, which estimates the same by random signs, has them.
//
// Throws Error(usage) for objectives without outputs and models that couple their examples.
struct SquaredGradients {
  Tensor mean;                              // [n]; 0 at untapped parameters
  std::vector<UntappedParameter> untapped;  // that no layer of some term tells
};
SquaredGradients mean_squared_gradients(const Objective& objective);

}  // namespace osculant
