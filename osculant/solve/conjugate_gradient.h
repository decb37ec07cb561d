#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "osculant/linop/linear_operator.h"

namespace osculant {

enum class CgStop {
  residual,            // norm(r) <= relative_tolerance * norm(b), or <= absolute_tolerance
  progress,            // Martens' test on phi
  negative_curvature,  // p'Ap <= 0: the iterate before that direction is returned, and the direction
  iterations,          // max_iterations made
  interrupted,         // the progress callback said so
  non_finite,          // a product or an inner product was not finite; x is the last finite iterate
};
std::string_view to_string(CgStop stop);

// What the progress callback sees after each iteration.
struct CgProgress {
  int64_t iteration = 0;
  double residual_norm = 0;
  double phi = 0;
};

struct CgOptions {
  int64_t max_iterations = 250;
  double relative_tolerance = 1e-8;  // on norm(r) / norm(b); 0 switches the test off
  double absolute_tolerance = 0;     // on norm(r); 0 switches the test off

  // Martens (2010), section 4.4: with k = max(progress_window, ceil(0.1 i)), stop when i > k, phi_i < 0 and
  // (phi_i - phi_{i-k}) / phi_i < k * progress_tolerance. 0 switches the test off; the paper's value is 5e-4.
  double progress_tolerance = 0;
  int64_t progress_window = 10;

  Tensor initial_guess = {};                       // [n]; zero when undefined, which saves a product
  const LinearOperator* preconditioner = nullptr;  // applies M^-1, symmetric positive definite

  // Keep copies of the iterates ceil(5 * 1.3^j) and of the last one, to backtrack over (Martens 2010,
  // section 4.6).
  bool keep_iterates = false;

  std::function<bool(const CgProgress&)> progress = {};  // false stops

  // The stopping of Martens' Hessian-free optimisation.
  static CgOptions martens(int64_t max_iterations = 250);
  void check() const;
};

struct CgIterate {
  int64_t iteration = 0;
  double phi = 0;
  Tensor x;  // [n]
};

struct CgResult {
  Tensor x;                      // [n]
  int64_t iterations = 0;        // products with A, less one when an initial guess was given
  double residual_norm = 0;      // norm(b - A x) as the recurrence carries it
  double relative_residual = 0;  // over norm(b)
  double phi = 0;                // x'Ax/2 - b'x
  CgStop stop = CgStop::iterations;
  std::string message;              // the stop in words, with the numbers that were compared
  std::vector<CgIterate> iterates;  // ascending in iteration, the last one being x; empty unless asked for

  // After negative_curvature: p of norm 1 with p'Ap = curvature <= 0 and p'r = descent >= 0, r = b - A x, so
  // that phi(x + t p) = phi - t descent + t^2 curvature / 2 falls along +p.
  Tensor direction;
  double curvature = 0;
  double descent = 0;

  bool converged() const { return stop == CgStop::residual || stop == CgStop::progress; }
};

// Preconditioned conjugate gradients (Hestenes & Stiefel 1952) for A x = b, A symmetric positive definite:
// each iterate minimises phi(x) = x'Ax/2 - b'x over a growing Krylov space. One product an iteration; vectors
// in A's dtype, the scalar recurrences in float64.
CgResult conjugate_gradient(const LinearOperator& A, const Tensor& b, const CgOptions& options = {});

}  // namespace osculant
