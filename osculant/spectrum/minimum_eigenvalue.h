#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "osculant/linop/linear_operator.h"

namespace osculant {

enum class MinimumEigenvalueVerdict {
  certified,  // l_min >= -tolerance, wrong with at most failure_probability over the random start
  negative,   // v'Hv <= -tolerance / 2
  unknown,    // products, memory or precision did not suffice, or somebody interrupted
};
std::string_view to_string(MinimumEigenvalueVerdict verdict);

struct MinimumEigenvalueOptions {
  double tolerance = 1e-3;            // eps > 0, absolute
  double failure_probability = 0.01;  // delta, in (0, 1)
  double norm_bound = 0;  // a bound on norm_2(H) where the caller has one; else from the Ritz values
  int64_t max_products = 1000;
  int64_t basis_bytes = int64_t{1} << 30;
  uint64_t seed = 0;
  std::function<bool(int64_t)> progress = {};  // called with the products made; false stops
  void check() const;
};

struct MinimumEigenvalue {
  MinimumEigenvalueVerdict verdict = MinimumEigenvalueVerdict::unknown;
  double value = 0;  // v'Hv, an upper bound on l_min
  Tensor vector;     // v, of norm 1, [n]; undefined when no product was finite
  double tolerance = 0;
  double failure_probability =
      1;                  // that l_min < -tolerance all the same, by the steps made; 1 where nothing is known
  double norm_bound = 0;  // largest abs(l) that the steps made allow for
  int64_t products = 0;
  std::string message;  // the verdict in words, with its numbers
};

// Is H positive semidefinite to a tolerance? Lanczos from a random vector (Royer, O'Neill & Wright 2020,
// procedure 2), which ends with a direction of curvature <= -eps/2, or with the statement l_min >= -eps. The
// probability that the statement is wrong is the bound of Kuczynski & Wozniakowski (1992) for l_max I - H at
// the steps made and the Ritz value found, and so takes at most
//
//   1 + ceil(ln(2.75 n / delta^2) sqrt(norm(H) / eps) / 2)
//
// products. l_max is norm_bound, or else the largest row sum of Lanczos's matrix, which is about norm(H).
MinimumEigenvalue minimum_eigenvalue_oracle(const LinearOperator& H,
                                            const MinimumEigenvalueOptions& options = {});

}  // namespace osculant
