#pragma once

#include <cstdint>
#include <memory>

#include "osculant/optim/direction.h"
#include "osculant/optim/options.h"

namespace osculant {

struct NewtonCgOptions {
  double epsilon = 1e-3;              // curvature below -epsilon is followed, above it damped by 2 epsilon
  double tolerance = 0.5;             // zeta: CG's residual is zeta epsilon / (3 norm(H)) of norm(g), or less
  int64_t cg_iterations = 250;        // at most
  double gradient_tolerance = 1e-6;   // gradient norm at or below which the smallest eigenvalue is asked for
  double failure_probability = 0.01;  // of the answer
  void check() const;
};
void visit(OptionVisitor& visitor, NewtonCgOptions& options);

// Newton's method by capped conjugate gradients (Royer, O'Neill & Wright 2020, algorithm 3): the solution of
// (H + 2 eps I) p = -g, or a direction d of curvature < -eps, scaled to norm(p) = abs(d'Hd) / d'd and turned
// downhill. Where the gradient first falls below gradient_tolerance, a random start of Lanczos looks for
// negative curvature that g does not show. eps is min(epsilon, sqrt(norm(g))), so that the end is
// superlinear. H is that of the whole objective on the step's batch.
std::unique_ptr<Direction> newton_cg_direction(const NewtonCgOptions& options);

}  // namespace osculant
