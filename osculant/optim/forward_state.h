#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "osculant/objective/objective.h"

namespace osculant {

// What a forward pass in training mode changes besides its result: buffers (batch-norm statistics) and
// libtorch's default generator (dropout). Taken before a step and put back when the step is rejected.
class ForwardState {
 public:
  explicit ForwardState(const Objective& objective);

  struct Snapshot {
    std::vector<Tensor> buffers;                   // copies, in the order of the models
    Tensor generator;                              // undefined where no model is in training mode
    bool operator==(const Snapshot& other) const;  // to the bit
  };
  Snapshot snapshot() const;
  void restore(const Snapshot& snapshot) const;
  // The generator alone: a trial point must be judged under the dropout masks of the gradient.
  void restore_generator(const Snapshot& snapshot) const;

  // Puts every model into evaluation mode while it lives.
  class EvaluationMode {
   public:
    explicit EvaluationMode(const Objective& objective);
    ~EvaluationMode();
    EvaluationMode(const EvaluationMode&) = delete;
    EvaluationMode& operator=(const EvaluationMode&) = delete;

   private:
    std::vector<Model> trained_;
  };

 private:
  Objective objective_;
  std::vector<Tensor> buffers_;
};

}  // namespace osculant
