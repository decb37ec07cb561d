#pragma once

#include "osculant/study/problem.h"
#include "osculant/study/result.h"

namespace osculant {

// What everything else needs, tried on a few examples: equal outputs for equal inputs, independent examples,
// second derivatives, every parameter used.
CheckRecord preflight(const Problem& problem);

// The same in training or in evaluation mode; mode and buffers are left as they were.
CheckRecord preflight_in_mode(const Problem& problem, bool training);

// A note on where a model behaves otherwise in the mode that it will be trained in than in the present one,
// in which it was measured; empty where it does not.
std::string mode_words(const Problem& problem, const RunConfig& config, const CheckRecord& measured,
                       const CheckRecord& trained);

// Reads nothing new: tries value, gradient and one curvature product on the first batch, and says what works,
// which parameters matter, and what `analyze` and `train` would cost.
Result check(const Problem& problem, RunConfig& config);

// The loss and metrics at the present parameters.
Result evaluate_parameters(const Problem& problem, const std::string& parameters_file);

}  // namespace osculant
