#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/autograd/autograd.h>

namespace osculant {

enum class Graph { release, retain, create };  // after the pass: freed, usable again, differentiable again

// d outputs / d inputs along `weights`, leaving out outputs that carry no graph. Undefined where an input is
// not reached.
torch::autograd::variable_list grad_of(const torch::autograd::variable_list& outputs,
                                       const torch::autograd::variable_list& inputs,
                                       const torch::autograd::variable_list& weights,
                                       Graph graph = Graph::retain);

}  // namespace osculant
