#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "osculant/linop/linear_operator.h"
#include "osculant/solve/arguments.h"

namespace osculant {

enum class CappedCgStop {
  solution,            // norm((H + 2 eps I) d + g) <= tolerance / (3 kappa) norm(g)
  negative_curvature,  // d'Hd <= -eps d'd
  iterations,          // max_iterations made; d is the last iterate, of curvature > -eps
  interrupted,         // the progress callback said so
  non_finite,          // a product or an inner product was not finite; d is the last finite iterate
};
std::string_view to_string(CappedCgStop stop);

struct CappedCgOptions {
  double epsilon = 1e-3;       // eps: curvature below -eps is found, above it is damped by 2 eps
  double tolerance = 0.5;      // zeta, in (0, 1)
  double norm_bound = 0;       // M, a guess at norm(H), raised where a product shows more
  int64_t max_iterations = 0;  // 0: n
  SolveCallback progress = {};
  void check() const;
};

struct CappedCgResult {
  Tensor d;  // [n]; a direction of descent for `solution`, of either sign for `negative_curvature`
  double curvature = 0;      // d'Hd / d'd, H undamped
  double slope = 0;          // g'd
  double norm_bound = 0;     // M, as raised
  double residual_norm = 0;  // of the damped system, at the last iterate
  int64_t iterations = 0;
  int64_t products = 0;  // with H
  CappedCgStop stop = CappedCgStop::iterations;
  std::string message;  // the stop in words, with the numbers that were compared
};

// Newton's system (H + 2 eps I) d = -g by conjugate gradients that watch the curvature of their iterates and
// directions at no further product (Royer, O'Neill & Wright 2020, algorithm 1): either the system's solution
// to the accuracy asked for, along which H + 2 eps I has curvature > eps, or a direction of curvature < -eps
// in H.
//
// The algorithm's last test, on a residual that decays too slowly while all curvatures seen are above eps, is
// left to max_iterations: in 3,000 random problems it was never the first.
CappedCgResult capped_cg(const LinearOperator& H, const Tensor& g, const CappedCgOptions& options = {});

}  // namespace osculant
