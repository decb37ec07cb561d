#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "osculant/tensor/parameter_layout.h"

namespace osculant {

// Derivatives of a batch's outputs z [N, K...] with respect to the layout's leaves, from the graph that z
// carries, which is kept. `seeds` [N, D, C], D = K..., chooses C combinations of each example's outputs:
//   row (i, c) = sum over d of seeds[i, d, c] dz[i, d]/dtheta.
// Returns [N, C, n]. The identity as seeds gives the Jacobian, the root of the output Hessian that of
// Gauss-Newton.

// In C backward passes over the whole batch, for networks whose parameters enter through matrix products and
// biases alone: with out = a W', the row of example i for W is the sum over uses (and positions t) of d_it
// a_it', d = d(combination c)/d(out), a from the graph (Goodfellow 2015). Nothing where a parameter enters in
// another way. Takes it that examples do not mix, and that rows of a product lie in the order of examples:
// compare a product of the result with one by autograd.
std::optional<Tensor> layerwise_jacobian(const Tensor& z, const Tensor& seeds, const ParameterLayout& layout);

// One backward pass a row: right whatever the graph.
Tensor rowwise_jacobian(const Tensor& z, const Tensor& seeds, const ParameterLayout& layout);

}  // namespace osculant
