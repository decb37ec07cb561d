#pragma once

#include <cstdint>
#include <memory>

#include "osculant/optim/direction.h"
#include "osculant/optim/options.h"

namespace osculant {

struct NewtonMinresOptions {
  double tolerance = 0.01;          // relative residual, at most; less where norm(g) < tolerance^2
  int64_t minres_iterations = 250;  // at most
  bool refine = false;              // pseudo-inverse steps of singular systems to more digits
  void check() const;
};
void visit(OptionVisitor& visitor, NewtonMinresOptions& options);

// Newton's method by MINRES (Liu & Roosta 2022): p = -H^+ g, the shortest of the least-squares solutions
// where H is singular, g outside its range and all; and where a residual r of non-positive curvature comes up
// on the way, p = r, a direction of descent (g'r = -norm(r)^2) along which the model is unbounded. Where H is
// positive semidefinite, a part of g in its null space moves nothing. H is that of the whole objective on the
// step's batch.
std::unique_ptr<Direction> newton_minres_direction(const NewtonMinresOptions& options);

}  // namespace osculant
