#pragma once

#include <cstdint>
#include <memory>

#include "osculant/optim/direction.h"
#include "osculant/optim/options.h"

namespace osculant {

struct TrustRegionOptions {
  double radius = 1;  // at the start
  double maximum_radius = 1e6;
  double tolerance = 0.1;  // relative residual inside the region, at most; less where norm(g) < tolerance^2
  int64_t cg_iterations = 250;  // at most
  void check() const;
};
void visit(OptionVisitor& visitor, TrustRegionOptions& options);

// Newton's method in a trust region (Steihaug 1983): p minimises g'p + p'Hp/2 over norm(p) <= radius by
// truncated conjugate gradients, which follow negative curvature to the boundary. The radius falls to a
// quarter of norm(p) where rho < 1/4, and doubles where rho > 3/4 on the boundary (Nocedal & Wright 2006,
// algorithm 4.1). H is that of the whole objective on the step's batch.
std::unique_ptr<Direction> trust_region_direction(const TrustRegionOptions& options);

}  // namespace osculant
