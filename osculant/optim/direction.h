#pragma once

#include "osculant/base/random.h"
#include "osculant/objective/linearization.h"
#include "osculant/optim/damping.h"
#include "osculant/optim/step.h"

namespace osculant {

class Archive;

// The point a step starts from.
struct StepContext {
  Linearization& gradient;   // the objective on the step's batch; its gradient is finite
  Linearization& curvature;  // where curvature is taken: the same batch, and often the same object
  int64_t step = 0;          // 1 for the first
  RandomStream& random;
};

// What to do with a gradient. Keeps its own state; contains no loop over steps.
class Direction {
 public:
  virtual ~Direction() = default;

  virtual Needs needs() const = 0;
  // Once a point: update averages, factorise, refresh bases.
  virtual void prepare(const StepContext& context) = 0;
  // Any number of times after prepare: another damping costs no second factorisation.
  virtual Step propose(const StepContext& context, const Damping& damping) = 0;
  virtual void accepted(const StepOutcome& outcome) {}
  virtual void rejected(const StepOutcome& outcome) {}

  // Everything that the next step depends on.
  virtual void save(Archive& archive) const {}
  virtual void load(const Archive& archive, const ParameterLayout& layout) {}
};

}  // namespace osculant
