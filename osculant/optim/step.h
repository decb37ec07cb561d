#pragma once

#include <ATen/core/Tensor.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace osculant {

using at::Tensor;

inline constexpr double unknown_number = std::numeric_limits<double>::quiet_NaN();

// A shorter step than the one proposed: an iterate that the solver passed on its way.
struct StepCandidate {
  Tensor displacement;  // [n]
  double predicted_change = unknown_number;
};

// What a Direction proposes. The new point is theta + displacement, or a shorter one if the step rule says
// so.
struct Step {
  Tensor displacement;            // p, [n]
  Tensor target;                  // theta + p where the method knows it to the bit; undefined otherwise
  double slope = unknown_number;  // g'p
  double predicted_change = unknown_number;  // m(p) - m(0), m the undamped quadratic model
  std::vector<StepCandidate> earlier;        // the solver's earlier iterates, first to last

  int64_t solver_iterations = 0;
  std::string solver_stop;   // why the solver stopped, in words; "" without a solver
  bool interrupted = false;  // somebody asked to stop while the solver was at work: the step is not made
  std::string note;          // anything a reader of the log should know: "memory restarted: ..."
};

// What a step rule made of a Step, told to the Direction afterwards.
struct StepOutcome {
  bool accepted = false;
  Tensor displacement;  // what was added to theta, [n]
  Tensor new_gradient;  // of the same batch at the new point; undefined where nobody computed it
  double loss_after = unknown_number;  // of the same batch at the new point
  double rho = unknown_number;         // actual / predicted change
  std::string reason;                  // why it was rejected; "" otherwise
};

// One step, as metrics.jsonl and the progress line show it. NaN stands for "not known".
struct StepRecord {
  int64_t step = 0;      // 1 for the first
  int64_t examples = 0;  // in the step's batch
  bool accepted = false;
  bool interrupted = false;  // the step was given up because somebody asked to stop: as if it had not begun
  bool finite = true;        // false when a value, gradient or step was not a finite number
  double loss_before = unknown_number;    // of the step's batch, regularisers included
  double loss_after = unknown_number;     // the same at the new point, where the method evaluates it
  double gradient_norm = unknown_number;  // before clipping
  double step_norm = unknown_number;
  double rho = unknown_number;      // gain ratio: actual / predicted change
  double damping = unknown_number;  // lambda with which the step was made
  int64_t attempts = 1;             // steps proposed
  int64_t solver_iterations = 0;    // over all attempts
  std::string solver_stop;
  std::string note;
  double gradient_equivalents = 0;  // since the start of training
  double seconds = 0;               // the same, evaluations left out
  double epochs = 0;                // the same: examples seen / examples
};

}  // namespace osculant
