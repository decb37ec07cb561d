#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "osculant/spectrum/eigenpairs.h"
#include "osculant/spectrum/functions.h"
#include "osculant/spectrum/low_rank.h"

namespace osculant {

struct LowRankCurveOptions {
  int64_t count = 20;   // K: errors are told for the ranks 0 to K
  double wanted = 0.1;  // error, relative to norm_F, for which the smallest rank is told
  std::vector<LowRankMethod> methods = {
      LowRankMethod::svd,           LowRankMethod::qr,      LowRankMethod::randomized_svd,
      LowRankMethod::randomized_qr, LowRankMethod::nystrom, LowRankMethod::indefinite_nystrom,
      LowRankMethod::lanczos};
  int64_t oversampling = 10;  // of the methods that sketch, as in LowRankOptions
  int64_t power_passes = 2;
  int64_t probes = 30;        // products, in common, that measure the errors of all methods
  int64_t dense_limit = 500;  // n up to which the matrix is formed and all errors are exact
  double confidence = 0.95;
  uint64_t seed = 0;
  std::function<bool(int64_t products)> progress = {};  // called between methods; false stops

  void check() const;
};

// A method's factorisation V diag(values) V' of rank K, cut to its k values of largest magnitude.
struct LowRankCurve {
  LowRankMethod method = LowRankMethod::svd;
  std::vector<Measured> error;  // [k]: norm_F(A - A_k) / norm_F(A), k from 0 to the rank found
  std::string note;             // why there is no curve, or why it ends before K; else empty
  int64_t products = 0;         // of its own, without the probes

  // The smallest k whose error is `wanted` or less is at least `rank_low` and, where that is >= 0, at most
  // `rank_high`; rank_low past the curve's end: none of its ranks is enough.
  int64_t rank_low = 0, rank_high = -1;

  int64_t most() const { return static_cast<int64_t>(error.size()) - 1; }  // -1: no curve
  std::string rank_words() const;  // "13", "12 to 14", "12 or more", "more than 20", "unknown"
};

struct LowRankCurves {
  std::vector<LowRankCurve> curves;  // in the order of the methods asked for
  Measured frobenius;                // norm_F
  double wanted = 0;
  bool exact = false;  // the matrix was formed; intervals are rounding
  double confidence = 0.95;
  int64_t size = 0, products = 0;
  std::string name;  // of the operator
  std::string how;   // what it rests on

  std::string report() const;  // for a person
};

// Where V is orthonormal and v_i'A v_i = values_i, as it is for all methods that project (not for those of
// Nystrom),
//
//   norm_F(A - A_k)^2 = norm_F(A)^2 - sum over i <= k of values_i^2 = e^2 + sum over k < i <= K of
//   values_i^2,
//
// with e^2 = norm_F(A - A_K)^2 the one thing that is measured: the mean of norm(A z - A_K z)^2 over normal z
// that all methods have in common (interval_of_sum, norms.h). The ratio to norm_F(A)^2 = e^2 + sum of all
// values_i^2 grows with e, so that its interval is that of e put through it, for all k at once. Nystrom's
// errors are measured for each k, and norm_F is that of the method which knows it best; both ends then take
// half of the failure. Coverage is that of interval_of_sum: 93 to 95 % at 30 probes.
//
// svd and qr where n <= dense_limit; nystrom where A is declared positive semidefinite; lanczos from `pairs`,
// at no product, or from the matrix where that is formed. Others say in `note` why they are not there.
LowRankCurves low_rank_curves(const LinearOperator& A, const LowRankCurveOptions& options = {},
                              const EigenResult* pairs = nullptr);

// Products that it takes.
int64_t low_rank_curve_products(int64_t n, bool positive_semidefinite, const LowRankCurveOptions& options);

}  // namespace osculant
