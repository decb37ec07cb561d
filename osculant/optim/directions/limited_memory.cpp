#include "osculant/optim/directions/limited_memory.h"

#include <torch/types.h>

#include <algorithm>

#include "osculant/io/archive.h"

namespace osculant {

void LimitedMemoryDirection::prepare(const StepContext& context) {
  gradient_ = context.linearization.gradient();
  followed_ = context.gradient;
}

void LimitedMemoryDirection::rejected(const StepOutcome&) {
  if (memory_.empty()) return;
  note_ = "memory emptied after a failed line search";
  memory_.clear();
}

void LimitedMemoryDirection::save(Archive& archive) const {
  archive.put("note", note_);
  memory_.save(archive);
}

void LimitedMemoryDirection::load(const Archive& archive, const ParameterLayout& layout) {
  note_ = archive.text("note");
  memory_.load(archive, layout);
}

PairMemory::Pair LimitedMemoryDirection::pair_of(const StepOutcome& outcome) const {
  return PairMemory::make(outcome.displacement.clone(), outcome.new_gradient - gradient_);
}

double LimitedMemoryDirection::first_scale(const VectorSpace& space) const {
  return std::min(1.0, 1.0 / space.norm(followed_));
}

}  // namespace osculant
