#pragma once

#include "osculant/study/problem.h"
#include "osculant/study/result.h"

namespace osculant {

// What everything else needs, tried on a few examples: equal outputs for equal inputs, independent examples,
// second derivatives, every parameter used.
CheckRecord preflight(const Problem& problem);

// Reads nothing new: tries value, gradient and one curvature product on the first batch, and says what works,
// which parameters matter, and what `analyze` and `train` would cost.
Result check(const Problem& problem, RunConfig& config);

// The loss and metrics at the present parameters.
Result evaluate_parameters(const Problem& problem, const std::string& parameters_file);

}  // namespace osculant
