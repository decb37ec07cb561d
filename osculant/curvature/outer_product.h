#pragma once

#include <vector>

#include "osculant/objective/linearization.h"

namespace osculant {

// Parts of the matrices that are sums over examples of J' w w' J, w in the space of an example's outputs.

// w_i'V_i of each example, over all outputs: [N].
Tensor example_dots(const std::vector<Tensor>& w, const std::vector<Tensor>& V);

// c_i w_i of each example; c [N].
std::vector<Tensor> scaled_by_example(const std::vector<Tensor>& w, const Tensor& c);

}  // namespace osculant
