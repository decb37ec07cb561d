#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "osculant/objective/objective.h"

namespace osculant {

// The dual side of the Gauss-Newton matrix G = A'A of an objective with one term, A = S'J as in
// Linearization::gauss_newton_root, without A: the m x m matrix A A' from inner products by layer
// (LayerRows), rows example by example, and products with A. A A' must fit the memory budget, A need not: its
// rows are held for as many batches as the budget has room for, as inputs and derivatives of the layers, C N
// T (columns + outputs) numbers each.
struct GaussNewtonDual {
  Tensor gram;      // A A', [m, m]
  Tensor residual;  // r, [m]: A'r is the gradient, as far as it is seen by curvature
};
// Nothing where layers do not tell all parameters, examples mix, or there are several terms or outputs.
// Throws Error(memory) where A A' exceeds the budget.
std::optional<GaussNewtonDual> gauss_newton_dual(const Objective& objective);

// For objectives that have a dual: A'w [n], by one pass back, and A v [m].
Tensor root_transpose_product(const Objective& objective, const Tensor& w);
Tensor root_product(const Objective& objective, const Tensor& v);

}  // namespace osculant
