#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "osculant/linop/linear_operator.h"
#include "osculant/solve/arguments.h"

namespace osculant {

enum class MinresStop {
  residual,            // norm(r) <= relative_tolerance * norm(b), or <= absolute_tolerance
  least_squares,       // norm(A r) <= least_squares_tolerance * norm(A) * norm(r): the system is inconsistent
  precision,           // norm(r) <= u norm(A) norm(x): rounding alone makes as much
  negative_curvature,  // r'Ar <= 0, where the options ask to stop there
  iterations,          // max_iterations made
  interrupted,         // the progress callback said so
  non_finite,          // a product was not finite; x is the last finite iterate
};
std::string_view to_string(MinresStop stop);

struct MinresOptions {
  int64_t max_iterations = 250;      // and as many again for each of the two systems of `refine`
  double relative_tolerance = 1e-8;  // on norm(r) / norm(b); 0 switches the test off
  double absolute_tolerance = 0;     // on norm(r); 0 switches the test off

  // On norm(A r) / (norm(A) norm(r)): at or below it r counts as orthogonal to A's range. Eigenvalues below
  // this share of norm(A) may so be taken for zero. -1: 3 sqrt(u) of the dtype; below that a step lowers
  // norm(r)^2 by no more than its rounding, and what follows is noise along r.
  double least_squares_tolerance = -1;

  // Of an inconsistent system: once r is known to that tolerance, solve two small consistent ones for what it
  // still holds of A's range and for the correction of x that this means. About as many products again, and
  // three to four digits more.
  bool refine = true;

  bool stop_at_negative_curvature = false;  // at the first r with r'Ar <= 0 (Liu & Roosta 2022)
  SolveCallback progress = {};
  void check() const;
};

struct MinresResult {
  Tensor x;         // [n]
  Tensor residual;  // r = b - A x as the recurrence carries it, [n]
  int64_t iterations = 0;
  int64_t products = 0;  // with A, all told
  double residual_norm = 0;
  double relative_residual = 0;                               // over norm(b)
  double Ar_norm = std::numeric_limits<double>::quiet_NaN();  // norm(A r); NaN where no product has seen r
  double x_norm = 0;
  double A_norm = 0;     // a lower bound on norm_2(A)
  double condition = 0;  // norm(A) norm(A^+), estimated from below
  MinresStop stop = MinresStop::iterations;
  std::string message;  // the stop in words, with the numbers that were compared

  // Of all residuals seen, the one with the least curvature, where that is <= 0: p of norm 1 with p'Ap =
  // curvature and p'b > 0. Undefined otherwise.
  Tensor direction;
  double curvature = std::numeric_limits<double>::quiet_NaN();

  bool converged() const { return stop == MinresStop::residual || stop == MinresStop::least_squares; }
};

// x = A^+ b, the solution, or else the least-squares solution, of minimum length of A x = b for any symmetric
// A: indefinite, singular, b outside its range. MINRES (Paige & Saunders 1975), whose residual is the least
// over a growing Krylov space, and for inconsistent systems one lifting at the end,
//
//   x <- x - (r'x / r'r) r,
//
// which takes out all that the Krylov space holds of A's null space (Liu, Milzarek & Roosta 2023, theorem 1).
// MINRES-QLP (Choi, Paige & Saunders 2011), which keeps the solution short as it goes, ends at the same limit
// of rounding. Digits of x for an inconsistent system in float64, refined: 9 at condition 1e2, 8 at 1e4, 5 at
// 1e6; in float32 3 at 1e2, 1 at 1e4.
//
// One product an iteration. The curvature r'Ar is known at no cost, and until it is first <= 0 each iterate
// is a descent direction of x'Ax/2 - b'x (Liu & Roosta 2022).
//
// Without a preconditioner: one would change which solution is the shortest.
MinresResult minres(const LinearOperator& A, const Tensor& b, const MinresOptions& options = {});

}  // namespace osculant
