#pragma once

#include <functional>
#include <utility>

#include "osculant/linop/linear_operator.h"

namespace osculant {

// Operators made of others, and of matrices. Each takes shared ownership of its parts; `borrow` wraps an
// operator that outlives the composition.

OperatorPtr dense_operator(Tensor A, bool symmetric = false, bool positive_semidefinite = false);  // [m, n]
OperatorPtr diagonal_operator(Tensor d);                                                           // [n]
OperatorPtr identity_operator(const VectorSpace& space, double scale = 1);

// V diag(values) V': V [n, k] with orthonormal columns, values float64 or V's dtype [k].
OperatorPtr low_rank_operator(Tensor V, Tensor values);

OperatorPtr sum(OperatorPtr A, OperatorPtr B);
OperatorPtr scale(double alpha, OperatorPtr A);
OperatorPtr shift(OperatorPtr A, double sigma);     // A + sigma I
OperatorPtr product(OperatorPtr A, OperatorPtr B);  // A B
OperatorPtr adjoint(OperatorPtr A);

// The principal submatrix A[indices, indices]: a subset of the parameters. indices: int64 [m], ascending.
OperatorPtr restriction(OperatorPtr A, Tensor indices);

// A function [n, k] -> [n, k] taken for a symmetric operator.
OperatorPtr function_operator(const VectorSpace& space, std::function<Tensor(const Tensor&)> f,
                              std::string name, bool symmetric = true, bool positive_semidefinite = false);

// A non-owning pointer.
inline OperatorPtr borrow(const LinearOperator& A) {
  return OperatorPtr(OperatorPtr(), &A);
}

}  // namespace osculant
