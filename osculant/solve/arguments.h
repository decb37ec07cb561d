#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

#include "osculant/linop/linear_operator.h"

namespace osculant {

// What a solver's callback sees after each iteration.
struct SolveProgress {
  int64_t iteration = 0;
  double residual_norm = 0;
};
using SolveCallback = std::function<bool(const SolveProgress&)>;  // false stops

// Throw Error(usage) with the solver's name.
void require_symmetric(const char* solver, const LinearOperator& A);
void require_fits(const char* solver, const LinearOperator& A, const Tensor& v,
                  const char* what);  // v in A's domain

}  // namespace osculant
