#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "osculant/linop/linear_operator.h"

namespace osculant {

enum class EigenTarget {
  largest,   // algebraically, in descending order
  smallest,  // algebraically, in ascending order
  dominant,  // by absolute value, in descending order
  both,      // the largest, then the smallest: `count` of each
};
std::string_view to_string(EigenTarget target);

enum class EigenStop {
  converged,  // every wanted pair within the tolerance
  exact,      // the operator was small enough for a dense eigenproblem
  noise,      // the recurrence converged, the products' own rounding keeps the residuals above the tolerance
  products,   // max_products spent first
  interrupted,  // the progress callback said so
  non_finite,   // a product was not finite; pairs are those found before it
};
std::string_view to_string(EigenStop stop);

struct EigenProgress {
  int64_t products = 0;
  int64_t wanted = 0;
  int64_t converged = 0;  // of the wanted, at the last look
  bool checking = false;  // looking for pairs that were missed
};

struct EigenOptions {
  int64_t count = 5;  // pairs wanted, for `both` at each end; at most n are returned
  EigenTarget target = EigenTarget::largest;

  // Residual wanted of each pair, relative to the operator's norm: norm(A v - l v) <= tolerance * max abs(l).
  // The error of an isolated eigenvalue is about its square over the gap.
  double tolerance = 1e-3;

  int64_t max_products = 0;      // 0: 500 + 50 * wanted
  int64_t krylov_dimension = 0;  // basis vectors; 0: 15 * wanted, at least 100, as far as basis_bytes go
  int64_t basis_bytes = int64_t{1} << 30;  // memory of a process's basis, when krylov_dimension is not given
  int64_t dense_limit = 200;               // n up to which the matrix is formed; also when n <= 4 * wanted
  uint64_t seed = 0;

  // A block [n, k] to start from instead of a random vector: eigenvectors at nearby parameters, of which
  // those that moved little cost a product or two each. The extreme failure probability is then that of the
  // search.
  Tensor start = {};
  // Columns to start from; random ones make up for those `start` does not give. A block of k finds
  // eigenvalues of multiplicity k at once, which one vector leaves to the search.
  int64_t block = 1;

  // Measure residuals and rounding: by 2 products with random combinations of the vectors found, which show
  // whether the recurrence's A V is right, or by A V itself, at wanted + 1 products, where it is not, a
  // restart has given up what it was made of or the tolerance is near the precision (pair_verification.h).
  // Without it residuals are the recurrence's, with an allowance for the orthogonality it lets go.
  bool verify = true;

  // The search from a fresh random vector for pairs that were missed. It goes on until none is there except
  // with this probability, or its products are spent.
  double failure_probability = 0.01;
  int64_t check_products = -1;  // -1: as many as were spent before it, at least 20, after a `start` at least
                                // 60 + 5 * wanted; 0: no search

  // Rounding error of a product, relative to the operator's norm, where the caller has measured it against
  // float64. The measurement made here sees the rounding of products, not that of data they have in common.
  double noise_floor = 0;

  std::function<bool(const EigenProgress&)> progress = {};  // called after each product; false stops

  void check() const;
};

struct Eigenvalue {
  double value = 0;
  double residual = 0;
};

// Eigenpairs and what is known about them. Three statements, each with its own field:
//
// 1. Pairing: the values pair one to one with as many distinct eigenvalues (counted with multiplicity) of the
//    operator, each within `pairing_bound`, rounding allowed for. Certain where `pairing_failure_probability`
//    is 0; else but for that probability over the combinations by which residuals were measured.
// 2. An eigenvalue lies beyond the outermost value by more than tolerance * scale with at most the
//    probability `extreme_failure_probability` over the random start.
// 3. A search from a fresh random vector orthogonal to the vectors found took `check_steps` steps and ended
//    with nothing missing; an eigenvalue beyond the innermost wanted value by more than missed_margin() is
//    missing with at most the probability `missed_failure_probability`.
//
// 2 and 3 are bounds in exact arithmetic for the steps that were made (certificate.h), whatever the spectrum
// is. The search sees the operator between vectors orthogonal to those found, whose residuals may have moved
// an eigenvalue by the pairing bound (Weyl); hence the margin.
struct EigenResult {
  EigenTarget target = EigenTarget::largest;
  Tensor values;   // float64 [k], CPU, in the target's order
  Tensor vectors;  // [n, k], orthonormal, columns contiguous; of it the rows that the operator has here
  Tensor
      residuals;  // float64 [k], CPU: an eigenvalue lies within residuals[i] of values[i]; rounding included
  int64_t largest_count = 0;  // for `both`: values[0 : largest_count) are the largest, the rest the smallest

  double scale = 0;                        // max abs(l) seen: what tolerances are relative to
  double tolerance = 0;                    // as asked for
  double noise = 0;                        // rounding error of a product, absolute, as measured or given
  double pairing_bound = 0;                // statement 1
  double pairing_failure_probability = 0;  // of the same
  double extreme_failure_probability = 1;  // statement 2
  bool checked = false;                    // statement 3 was sought, and its search ended finding nothing
  int64_t check_steps = 0;
  double missed_failure_probability = 1;
  int64_t found_by_check = 0;  // pairs that only a search from a fresh vector found, now included

  int64_t size = 0;      // n
  std::string name;      // of the operator
  int64_t products = 0;  // with the operator, all told
  int64_t restarts = 0;
  int64_t krylov_dimension = 0;
  EigenStop stop = EigenStop::converged;
  std::string message;  // the stop in words, with its numbers

  // tolerance * scale + pairing_bound
  double missed_margin() const { return tolerance * scale + pairing_bound; }
  // That an extreme eigenvalue, or one beyond the pairs by more than this, was missed: statements 2 and 3.
  double miss_probability() const;
  bool converged() const { return stop == EigenStop::converged || stop == EigenStop::exact; }
  std::vector<Eigenvalue> largest() const;   // descending; empty for `smallest`
  std::vector<Eigenvalue> smallest() const;  // ascending; empty unless smallest or both were asked for
  std::string report() const;                // for a person: the values and the three statements
  std::string brief() const;                 // one line
};

// Eigenpairs at the ends of the spectrum of a symmetric operator, by thick-restart Lanczos (Wu & Simon 2000).
// Products are in A's dtype, projected matrices in float64. Where A's rows are dealt out (linop/by_rows.h),
// so are the basis and the vectors of the result. Throws Error(usage) for an operator not declared symmetric
// and for options that cannot be meant; trouble with numbers is a stop reason.
EigenResult eigenpairs(const LinearOperator& A, const EigenOptions& options = {});

}  // namespace osculant
