#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "osculant/linop/linear_operator.h"

namespace osculant {

// Ritz pairs of a symmetric operator on a subspace carried from one operator to the next like it.
struct RitzSubspace {
  Tensor vectors;    // [n, k], orthonormal, columns contiguous; those of a dependent start are fewer
  Tensor values;     // float64 [k], CPU, by falling magnitude
  Tensor residuals;  // float64 [k], CPU: norm(A v - value v), an eigenvalue lies within it of the value
  Tensor next;       // [n, k], orthonormal: the range of A V, where the next refresh should start
  int64_t products = 0;
  bool finite = true;  // false: a product was not; values are NaN, vectors and next the start's span
};

// One step of subspace iteration with Rayleigh-Ritz (Saad 2011, section 5.2) at one product a column: the
// Ritz pairs of A on the span of `start` [n, k], and the span of A start to go on from. Fed its own `next`,
// it turns towards the k eigenvectors of largest magnitude by abs(l_{k+1} / l_j) a step; fed its own
// `vectors` it would stay where it is.
RitzSubspace refresh_subspace(const LinearOperator& A, const Tensor& start);

}  // namespace osculant
