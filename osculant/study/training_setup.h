#pragma once

#include <cstdint>

#include "osculant/optim/methods.h"
#include "osculant/optim/minimizer.h"
#include "osculant/study/problem.h"

namespace osculant {

// What a configuration says about training, as the library takes it: shared by what trains once and what
// trains many times.

// Writes the batch size it chose back into `config`. Throws Error(usage) for a method that is not given.
void fill_training_defaults(const Problem& problem, RunConfig& config);

// The method of [train] with its options; Error(usage) with the line of the run file, or the flag.
Method training_method(const RunConfig& config);

// Over the training data, with the weight decay and the regularisers asked for. A batch is read in pieces,
// except where examples of a batch depend on each other.
Objective training_objective(const Problem& problem, const RunConfig& config);

// Limits, target, seed, batch size, metrics, and what [train] asks of any method. The problem must outlive
// them.
MinimizeOptions minimize_options(const Problem& problem, const RunConfig& config);

// The batch size, and the target tried on the names it may speak of, before anything is done. Error(usage).
void check_training(const Problem& problem, const RunConfig& config);

// One gradient over the whole training set, from one piece of it, measured once to warm up and once for the
// number.
struct GradientCost {
  double seconds = 0;  // of the data terms alone, which is what 1 ge takes
  int64_t bytes = 0;   // at the peak, of a piece, with regularisers
  // With regularisers, and what turning those towards a new theta costs each step.
  double gradient_equivalents = 1, advance = 0;
};
GradientCost measure_gradient(const Problem& problem, const Objective& objective);

// What the table's formulas speak of, K counted on a forward pass. For methods that make the Jacobian the
// price is in backward passes: as many as outputs where layers tell all parameters, else one for each output
// of each example, which a few examples tell.
ProblemSize problem_size(const Problem& problem, int64_t batch_size);
double step_price(const MethodInfo& method, const Problem& problem, const Objective& objective,
                  const ProblemSize& size);

}  // namespace osculant
