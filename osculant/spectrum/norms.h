#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "osculant/spectrum/eigenpairs.h"
#include "osculant/spectrum/functions.h"
#include "osculant/spectrum/statistics.h"

namespace osculant {

struct ProbeOptions {
  int64_t probes = 30;  // products; exact where n is no larger
  double confidence = 0.95;
  uint64_t seed = 0;

  void check() const;
};

// The sum of the means of independent samples of squared norms, each of which is a sum of chi-squares: the
// interval of one chi-square with the same mean and variance (Satterthwaite 1946), the variance being that
// of the samples. A quantity of one degree of freedom seen in N samples has N: the interval claims no fewer
// than the smallest N. That the variance is known from few samples only widens it as a t interval is wider
// than a normal one. Each sample needs at least 2 numbers; none at all sum to 0.
Measured interval_of_sum(const std::vector<RunningMoments>& samples, double confidence);

// "1.2 (1.1 to 1.3)", the value alone where the ends are its equals to four digits, "unknown".
std::string in_words(const Measured& x);

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

// norm_2 of the operator whose eigenpairs of both signs (target `both` or `dominant`) these are: its upper
// end holds but for their failure probabilities. NaN and unbounded where there are none.
Measured spectral_norm(const EigenResult& pairs);

// The diagonal as the mean of z * (A z) over random signs z (Bekas, Kokiopoulou & Saad 2007).
struct DiagonalEstimate {
  Tensor value;           // [n], in A's dtype
  Tensor standard_error;  // [n]; zero where n <= probes and the columns were taken
};
DiagonalEstimate diagonal(const LinearOperator& A, const ProbeOptions& options = {});

}  // namespace osculant
