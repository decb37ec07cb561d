#pragma once

#include <ATen/core/Tensor.h>

#include "osculant/linop/linear_operator.h"

namespace osculant {

// Preconditioners as solvers take them: operators that apply M^-1, symmetric positive definite.

// M = diag(d + lambda)^alpha, d [n] >= 0 and d + lambda > 0; alpha = 0.75 for d the sum of squared
// per-example gradients in Hessian-free optimisation (Martens 2010, section 4.7).
OperatorPtr diagonal_power_preconditioner(const Tensor& d, double lambda, double alpha = 0.75);

// For A + mu I with A = V diag(l) V' on the span of V, near enough: V [n, k] with orthonormal columns, values
// l [k] >= 0 in any order, mu > 0, and l_k the smallest of them,
//
//   M^-1 = (l_k + mu) V (diag(l) + mu I)^-1 V' + (I - V V')
//
// (Frangella, Tropp & Udell 2023, eq. 5.1).
OperatorPtr nystrom_preconditioner(const Tensor& V, const Tensor& values, double mu);

}  // namespace osculant
