// What the directions that solve with the Hessian have in common.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>

#include "osculant/base/interrupt.h"
#include "osculant/curvature/curvature.h"
#include "osculant/optim/direction.h"
#include "osculant/solve/arguments.h"

namespace osculant {

// H at the step's point; for as long as the context lives.
inline Hessian hessian_of(const StepContext& context) {
  return Hessian(std::shared_ptr<Linearization>(std::shared_ptr<void>(), &context.linearization));
}

inline bool until_interrupted(const SolveProgress&) {
  return interrupt_signal() == 0;
}

// The relative residual that a truncated Newton step is solved to: min(most, sqrt(norm(g))), which converges
// superlinearly (Nocedal & Wright 2006, theorem 7.2).
inline double forcing(double most, double gradient_norm) {
  return std::min(most, std::sqrt(gradient_norm));
}

}  // namespace osculant
