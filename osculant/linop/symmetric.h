// Batches of symmetric matrices as the statistics of layers need them.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace osculant {

using at::Tensor;

// The lower triangles of S <- beta S + alpha X'X, S [count, d, d] and X [count, r, d]; what lies above is
// not to be read. Where X has another dtype the product is made in that.
void add_gram(Tensor& S, const Tensor& X, double beta, double alpha);

Tensor symmetric_from_lower(const Tensor& S);

struct SymmetricEigenpairs {
  Tensor values;   // [count, d], rising
  Tensor vectors;  // [count, d, d], columns
};
// Of the matrices whose lower triangles are given. Nothing where LAPACK fails or a number is not finite.
std::optional<SymmetricEigenpairs> symmetric_eigenpairs(const Tensor& lower);

// (S + shift I)^-1 by Cholesky's factorisation, S symmetric [count, d, d] and shift [count]. Nothing where a
// matrix is not positive definite or a number not finite.
std::optional<Tensor> shifted_inverse(const Tensor& S, const Tensor& shift);

}  // namespace osculant
