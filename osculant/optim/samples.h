#pragma once

#include <cstdint>
#include <memory>

#include "osculant/base/random.h"
#include "osculant/objective/linearization.h"

namespace osculant {

// Other examples than all of the step's batch, for a Direction that asks: curvature from fewer, or from fresh
// ones. What is drawn is linearised at theta and charged to the step.
class Samples {
 public:
  // `whole`: all training data; `batch`: the step's. A batch of mini-batch training is in random order
  // already.
  Samples(const Objective& whole, const Objective& batch, RandomStream& random);

  int64_t batch_examples() const;  // of the step's batch

  // About `share` of the step's batch, 0 < share <= 1, at least one example a term: the first ones of a
  // mini-batch, at random on the full batch.
  std::shared_ptr<Linearization> part(double share, const Needs& needs) const;
  // A part as above, short of the whole by one example at least, and as many of the others as there are, up
  // to the part's number. Both undefined where there are not two examples a term.
  struct Split {
    std::shared_ptr<Linearization> part, others;
  };
  Split split(double share, const Needs& needs) const;
  // As many examples as the step's batch has, drawn from all data, which are the same on the full batch.
  std::shared_ptr<Linearization> fresh(const Needs& needs) const;

 private:
  Objective draw(const Objective& from, double share, bool shuffled) const;
  Tensor order(int64_t examples, bool shuffled) const;
  bool on_full_batch() const;

  const Objective& whole_;
  const Objective& batch_;
  RandomStream& random_;
};

}  // namespace osculant
