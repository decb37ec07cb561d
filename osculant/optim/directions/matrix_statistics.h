// What SOAP and Shampoo have in common: means of G G', and their eigenvectors.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace osculant {

using at::Tensor;

// The lower triangles of S <- beta S + alpha X'X, S [count, d, d] and X [count, r, d]; what lies above is
// not to be read.
void add_gram(Tensor& S, const Tensor& X, double beta, double alpha);

Tensor symmetric_from_lower(const Tensor& S);

struct SymmetricEigenpairs {
  Tensor values;   // [count, d], rising
  Tensor vectors;  // [count, d, d], columns
};
// Of the matrices whose lower triangles are given. Nothing where LAPACK fails or a number is not finite.
std::optional<SymmetricEigenpairs> symmetric_eigenpairs(const Tensor& lower);

}  // namespace osculant
