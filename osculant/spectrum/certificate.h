#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace osculant {

using at::Tensor;

// The probability over a random start in R^n that q steps of Lanczos on a positive semidefinite matrix leave
// (l_max - its largest Ritz value) / l_max > e: at most 1.648 sqrt(n) exp(-sqrt(e) (2q - 1)) (Kuczynski &
// Wozniakowski 1992). At most 1 is returned.
double lanczos_failure_probability(int64_t n, double relative_error, int64_t steps);

// Steps of Lanczos for that bound to fall to `probability`.
int64_t lanczos_steps_for(int64_t n, double relative_error, double probability);

// The share of the spectrum's width that an eigenvalue at `beyond` stands above the largest Ritz value seen,
// once the matrix is shifted to be positive semidefinite: the e of the bound above. In [0, 1].
double shifted_relative_error(double beyond, double ritz, double lowest);

// norm_2 of a block from its Gram matrix R'R, float64 [k, k].
double block_norm(const Tensor& gram);

}  // namespace osculant
