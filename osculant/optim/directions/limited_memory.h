#pragma once

#include <string>

#include "osculant/optim/direction.h"
#include "osculant/optim/directions/pair_memory.h"

namespace osculant {

// What directions from the last pairs (s, y) share: which gradients pairs are made of, and what is kept. A
// failed line search empties the memory. Which pairs are taken in, and the direction itself, is the method's.
class LimitedMemoryDirection : public Direction {
 public:
  explicit LimitedMemoryDirection(int64_t memory) : memory_(memory) {}

  Needs needs() const override { return {.gradient = true}; }
  void prepare(const StepContext& context) override;
  void rejected(const StepOutcome& outcome) override;
  void save(Archive& archive) const override;
  void load(const Archive& archive, const ParameterLayout& layout) override;

 protected:
  // Of the step just made; its gradient must be known.
  PairMemory::Pair pair_of(const StepOutcome& outcome) const;
  // Without pairs nothing is known of the scale: the first step has norm at most 1.
  double first_scale(const VectorSpace& space) const;

  PairMemory memory_;
  Tensor gradient_;   // of the batch: what pairs are made of
  Tensor followed_;   // the same, or clipped
  std::string note_;  // for the next step's record
};

}  // namespace osculant
