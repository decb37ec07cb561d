#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "osculant/spectrum/eigenpairs.h"
#include "osculant/spectrum/krylov_process.h"

namespace osculant {

// Eigenpairs of a projected matrix: values ascending, vectors as columns, and norm(C s), the norm of
// A V s - theta V s, of each.
struct Ritz {
  Tensor values;              // float64 [m]
  Tensor vectors;             // float64 [m, m]
  std::vector<double> value;  // values, on hand
  std::vector<double> residual;

  int64_t size() const { return static_cast<int64_t>(value.size()); }
  double scale() const;  // max abs(value)
};
Ritz ritz_pairs(const KrylovProcess& process);

// Which of values given in ascending order a target means, in the target's order: `count` of them, of each
// end for `both`, which may name an index twice when there are fewer than 2 count.
std::vector<int64_t> wanted_indices(EigenTarget target, const std::vector<double>& ascending, int64_t count);

// Approximate eigenpairs with what their residuals are made from.
struct PairBlock {
  Tensor Q;              // [n, k], orthonormal
  Tensor AQ;             // [n, k], its products, or what a recurrence knows of them; undefined for neither
  Tensor values;         // float64 [k], in the target's order
  Tensor residual_gram;  // float64 [k, k]: R'R with R = A Q - Q diag(values)
};

// The Ritz vectors `index`, orthonormalised; products and residuals as the recurrence knows them.
PairBlock pairs_of_recurrence(const VectorSpace& space, const KrylovProcess& process, const Ritz& ritz,
                              const std::vector<int64_t>& index);

// Rayleigh-Ritz on the span of Z with its products at hand; residuals as measured.
PairBlock rayleigh_ritz(const VectorSpace& space, const Tensor& Z, const Tensor& AZ, EigenTarget target,
                        int64_t count);

// A X for many columns, a few at a time; stored by columns.
Tensor apply_by_blocks(const LinearOperator& A, const Tensor& X);

Tensor columns_of(const Tensor& X, const std::vector<int64_t>& columns);  // X[:, columns]
std::vector<double> to_vector(const Tensor& x);                           // float64 on the CPU

}  // namespace osculant
