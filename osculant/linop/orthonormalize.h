#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "osculant/linop/vector_space.h"

namespace osculant {

// X = Q R for a tall block X [n, k], n >> k.
struct Orthonormal {
  Tensor Q;          // [n, rank], orthonormal to rounding, columns contiguous
  Tensor R;          // float64 [rank, k] on the CPU; upper triangular where rank = k
  int64_t rank = 0;  // columns of X that do not depend on those before them, to rounding
};

// By two rounds of Cholesky QR (Yamamoto et al. 2015), which is three matrix products a round, and by
// Householder QR where the columns are too close to dependent for that. Zero columns and dependent ones are
// left out of Q.
Orthonormal orthonormalize(const VectorSpace& space, const Tensor& X);

// X S for a block stored by columns: S is float64 [k, m], the result [n, m] stored by columns in X's dtype.
Tensor combine_columns(const Tensor& X, const Tensor& S);

// The same in the memory of X, whose first m <= k columns it becomes, and which are returned.
Tensor combine_columns_in_place(const Tensor& X, const Tensor& S);

}  // namespace osculant
