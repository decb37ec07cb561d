#pragma once

#include <cstdint>
#include <memory>

#include "osculant/optim/direction.h"
#include "osculant/optim/options.h"

namespace osculant {

struct HessianFreeOptions {
  DampingOptions damping = {};  // lambda
  int64_t cg_iterations = 250;
  double cg_tolerance = 5e-4;  // relative progress of the model an iteration, below which CG stops
  double momentum = 0.95;      // CG starts at this times the last solution
  bool backtrack = true;       // over CG's iterates, then along the step until Armijo's condition holds;
                               // false takes the step when its gain ratio is positive enough
  void check() const;
};
void visit(OptionVisitor& visitor, HessianFreeOptions& options);

// Hessian-free optimisation (Martens 2010): p from (G + lambda I) p = -g by conjugate gradients, G the
// Gauss-Newton matrix of the data terms on the step's batch; regularisers enter through g alone. CG starts
// from 0.95 of the last solution (section 4.8), stops by Martens' test (section 4.4), and hands its kept
// iterates to the step rule to backtrack over (section 4.6). lambda follows the gain ratio of the undamped
// model.
std::unique_ptr<Direction> hessian_free_direction(const HessianFreeOptions& options);

}  // namespace osculant
