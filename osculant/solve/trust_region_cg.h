#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "osculant/linop/linear_operator.h"
#include "osculant/solve/arguments.h"

namespace osculant {

enum class TrustRegionStop {
  residual,  // inside the region: norm(A p + g) <= relative_tolerance * norm(g), or <= absolute_tolerance
  boundary,  // a step would have left the region: p is on its boundary
  negative_curvature,  // d'Ad <= 0: p is on the boundary along +d, d with g'd <= 0 at the iterate before
  iterations,          // max_iterations made, inside the region
  interrupted,         // the progress callback said so
  non_finite,          // a product or an inner product was not finite; p is the last finite iterate
};
std::string_view to_string(TrustRegionStop stop);

struct TrustRegionCgOptions {
  double radius = 1;  // on norm(p), or sqrt(p'Mp) with a preconditioner M
  int64_t max_iterations = 250;
  double relative_tolerance = 1e-8;                // on norm(A p + g) / norm(g); 0 switches the test off
  double absolute_tolerance = 0;                   // on norm(A p + g); 0 switches the test off
  const LinearOperator* preconditioner = nullptr;  // applies M^-1, symmetric positive definite
  SolveCallback progress = {};
  void check() const;
};

struct TrustRegionResult {
  Tensor p;                  // [n]
  double model_change = 0;   // g'p + p'Ap/2 <= 0
  double norm = 0;           // sqrt(p'Mp) <= radius
  double residual_norm = 0;  // norm(A p + g) of the last iterate inside the region
  int64_t iterations = 0;    // products with A
  TrustRegionStop stop = TrustRegionStop::iterations;
  std::string message;  // the stop in words, with the numbers that were compared

  // After negative_curvature: of norm 1, the direction p left along, and d'Ad.
  Tensor direction;
  double curvature = std::numeric_limits<double>::quiet_NaN();

  bool on_boundary() const {
    return stop == TrustRegionStop::boundary || stop == TrustRegionStop::negative_curvature;
  }
};

// An approximate minimiser of g'p + p'Ap/2 over sqrt(p'Mp) <= radius, A symmetric: conjugate gradients from
// zero, which leave the region once at most, since sqrt(p'Mp) grows from iterate to iterate (Steihaug 1983).
// The model falls at least as far as by the best step along -M^-1 g. One product an iteration.
TrustRegionResult trust_region_cg(const LinearOperator& A, const Tensor& g,
                                  const TrustRegionCgOptions& options);

}  // namespace osculant
