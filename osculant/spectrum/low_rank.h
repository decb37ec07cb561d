#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "osculant/linop/linear_operator.h"

namespace osculant {

// Ways to a rank-k approximation of a symmetric operator, of m = count + oversampling sketched directions.
// Errors are Frobenius norms beside the best that rank k can do, sqrt(sum of the squares of all eigenvalues
// but the k dominant).
enum class LowRankMethod {
  // The matrix formed (n products), its k eigenvalues of largest magnitude kept: the best.
  svd,
  // The matrix formed, k columns of it chosen by pivoted QR (Businger & Golub 1965), and Q Q'A Q Q' taken on
  // their span. 1 to 1.7 times the best in trials; the bound is of the order sqrt(n - k) 2^k.
  qr,
  // The range of A^(q+1) times a random block, and Rayleigh-Ritz on it (Halko, Martinsson & Tropp 2011,
  // algorithms 4.4 and 5.3), q = power_passes; m (q + 2) products. Tends to the best with q.
  randomized_svd,
  // The same range built block by block (QB, Martinsson & Voronin 2016), so that it may stop at an error
  // instead of a rank: the sketch of the next block shows the error of those before it. m (q + 2) products.
  randomized_qr,
  // A Omega (Omega' A Omega)^-1 (A Omega)' for positive semidefinite operators, with a shift for stability
  // that is taken off again (Tropp, Yurtsever, Udell & Cevher 2017, algorithm 3). m products, 1 to 2.7 times
  // the best in trials. An operator not declared positive semidefinite is searched for a negative eigenvalue
  // first, and refused where one is detected: the Cholesky factorisation would let a small one pass.
  nystrom,
  // The same for indefinite operators, Omega'A Omega cut to its k largest eigenvalues before it is inverted
  // (Park & Nakatsukasa 2023), of m = max(ceil(1.5 count), count + oversampling) directions. m products, 1 to
  // 2.9 times the best in trials.
  indefinite_nystrom,
  // The k dominant eigenpairs (eigenpairs.h): the best to `lanczos_tolerance`.
  lanczos,
};
std::string_view to_string(LowRankMethod method);

enum class LowRankStop {
  done,        // the rank asked for, that of the operator, or one at which the error is as small as asked for
  rank,        // the error asked for needs a higher rank than `count`
  indefinite,  // nystrom met an operator that is not positive semidefinite; nothing is returned
  non_finite,  // a product was not finite; nothing is returned
};
std::string_view to_string(LowRankStop stop);

struct LowRankOptions {
  LowRankMethod method = LowRankMethod::randomized_svd;
  int64_t count = 10;    // the rank; at most n is returned
  double tolerance = 0;  // > 0: the smallest rank up to `count` with error <= tolerance * norm_F(A), as far
                         // as is known before the error is measured (svd, qr, randomized_qr)
  int64_t oversampling = 10;
  int64_t power_passes = 2;          // q: products with A between the first and the projected matrix
  int64_t block = 8;                 // columns that randomized_qr adds at a time
  double lanczos_tolerance = 1e-3;   // residuals wanted of `lanczos`, relative to the norm
  double negative_tolerance = 1e-4;  // nystrom refuses eigenvalues below -this * largest
  int64_t negative_products = 30;    // spent on looking for one; 0: none
  int64_t error_probes = 30;         // products that measure the error, >= 10; 0: unknown where not exact
  double confidence = 0.95;
  uint64_t seed = 0;

  void check() const;
};

// A ~ V diag(values) V', and how far from A that is.
struct LowRank {
  Tensor vectors;  // [n, k], orthonormal, columns contiguous; of it the rows that the operator has here
  Tensor values;   // float64 [k], CPU, by falling magnitude

  // norm_F(A - V diag(values) V'). Exact but for rounding where the matrix was formed or the probes would
  // cost as much; else from probes independent of the sketch, with an interval that covers it with at least
  // the probability `confidence`. [0, inf] where it was not measured.
  double error = 0, error_low = 0, error_high = 0;
  bool error_exact = false;
  double confidence = 0.95;

  LowRankMethod method = LowRankMethod::randomized_svd;
  LowRankStop stop = LowRankStop::done;
  int64_t size = 0;      // n
  int64_t products = 0;  // with the operator, all told
  std::string message;   // the stop in words

  int64_t rank() const { return values.numel(); }
  std::string report() const;  // for a person
};

// Throws Error(usage) for an operator not declared symmetric, and for options that cannot be meant.
LowRank low_rank(const LinearOperator& A, const LowRankOptions& options = {});

}  // namespace osculant
