#pragma once

#include "osculant/objective/linearization.h"
#include "osculant/optim/damping.h"
#include "osculant/optim/samples.h"
#include "osculant/optim/step.h"

namespace osculant {

class Archive;
class Trials;

// The point a step starts from.
struct StepContext {
  Linearization& linearization;  // the objective on the step's batch; its gradient is finite
  Tensor gradient;               // [n], the one to follow: the batch's, clipped where the run says so
  const Samples& samples;        // other examples, for those who want them
  int64_t step = 0;              // 1 for the first
  RandomStream& random;
  bool full_batch = true;    // the batch is all the data, the same at every step
  Trials* trials = nullptr;  // the batch at other points; null where a gradient is all there is
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

  // After prepare: the step [n] for another gradient at the same point and curvature, without what is carried
  // over from earlier steps, and leaving no trace. Undefined where a method has no such thing. By it the
  // damping controller compares what two halves of a batch would do.
  virtual Tensor step_for(const StepContext& context, const Tensor& gradient, const Damping& damping) {
    return {};
  }

  // Everything that the next step depends on.
  virtual void save(Archive& archive) const {}
  virtual void load(const Archive& archive, const ParameterLayout& layout) {}
};

}  // namespace osculant
