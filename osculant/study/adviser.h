#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "osculant/optim/methods.h"

namespace osculant {

// What the choice of a method depends on: counted, or measured on this machine.
struct TrainingFacts {
  int64_t parameters = 0;        // n
  int64_t examples = 0;          // N
  int64_t outputs = 1;           // K, of an example
  int64_t layers = 0;            // weight matrices and kernels
  double matrix_share = 0;       // of the parameters: in those with at least 16 rows and columns
  int64_t bytes_per_number = 4;  // of theta's dtype
  bool least_squares = false;    // the loss is a sum of squares of N K residuals
  bool second_derivatives = true;
  // The mode that is trained in decides these two.
  bool random = false;          // the network's outputs are, for equal inputs
  bool coupled = false;         // outputs depend on the others in a batch
  double gradient_seconds = 0;  // one over all examples; NaN: not measured
  int64_t gradient_bytes = 0;   // a batch's graph, at its peak
  int64_t memory_budget = 0;

  int64_t residuals() const { return examples * outputs; }
};

// A method on a problem.
struct MethodAdvice {
  std::string method;
  std::string batch_size;           // "256", "full"
  bool runs = true;                 // false: the reason says why it cannot
  double merit = 0;                 // 1 the best that the evidence has for such problems, 0 the worst
  std::string reason;               // in a sentence, with the numbers it rests on
  double bytes = 0;                 // beside theta and a gradient, a batch's graph included
  double gradient_equivalents = 0;  // a step
  double seconds = 0;               // a step, from the gradient's; NaN where that was not measured
};

// All methods of method_table(), best first, those that cannot run last.
//
// The merit is a prior, not a measurement: which families win on which kind of problem in races of this
// project's own methods (docs/advice.md has them), by size, loss and whether all examples can be seen in
// every step. A race on the problem itself settles it.
std::vector<MethodAdvice> advise_methods(const TrainingFacts& facts);

// Examples a step of a method that works on batches: all where they are few or cheap.
int64_t advised_batch_size(const TrainingFacts& facts);

}  // namespace osculant
