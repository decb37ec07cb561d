#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "osculant/spectrum/eigenpairs.h"
#include "osculant/spectrum/functions.h"

namespace osculant {

struct ProbeOptions {
  int64_t probes = 30;  // products; exact where n is no larger
  double confidence = 0.95;
  uint64_t seed = 0;

  void check() const;
};

// norm_F(A) of a symmetric operator from products with normal z. Pairs (U, l) found before are taken out of
// it:
//
//   norm_F(A)^2 = sum l^2 + 2 norm_F(R)^2 + norm_F(P A P)^2,  P = I - U U',  R = A U - U diag(l),
//
// the last as the mean of norm(P A P z)^2, a sum of chi-squares whose interval is that of one chi-square with
// the same mean and variance (Satterthwaite 1946), the variance being that of the probes. NaN and unbounded
// where a product was not finite.
Measured frobenius_norm(const LinearOperator& A, const ProbeOptions& options = {},
                        const EigenResult* pairs = nullptr);

// The diagonal as the mean of z * (A z) over random signs z (Bekas, Kokiopoulou & Saad 2007).
struct DiagonalEstimate {
  Tensor value;           // [n], in A's dtype
  Tensor standard_error;  // [n]; zero where n <= probes and the columns were taken
};
DiagonalEstimate diagonal(const LinearOperator& A, const ProbeOptions& options = {});

}  // namespace osculant
