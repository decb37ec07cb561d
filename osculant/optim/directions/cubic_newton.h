#pragma once

#include <cstdint>
#include <memory>

#include "osculant/optim/direction.h"
#include "osculant/optim/options.h"

namespace osculant {

struct CubicNewtonOptions {
  double sigma = 1;  // at the start
  double minimum_sigma = 1e-8;
  double tolerance = 0.1;          // of the model's gradient, relative to norm(g) min(1, norm(p))
  int64_t krylov_dimension = 100;  // products a step, and vectors kept, at most
  void check() const;
};
void visit(OptionVisitor& visitor, CubicNewtonOptions& options);

// Adaptive regularisation by cubics (Cartis, Gould & Toint 2011, algorithm 2.1): p minimises g'p + p'Hp/2 +
// sigma norm(p)^3 / 3 over a Krylov space. rho is measured against that model: where it is below 0.1 sigma
// doubles, above 0.9 it halves. A refused step is proposed anew with another sigma from the same basis, at no
// product. H is that of the whole objective on the step's batch.
std::unique_ptr<Direction> cubic_newton_direction(const CubicNewtonOptions& options);

}  // namespace osculant
