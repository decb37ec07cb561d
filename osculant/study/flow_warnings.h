#pragma once

#include <string>
#include <vector>

#include "osculant/diagnose/gradient_flow.h"
#include "osculant/study/watch_record.h"

namespace osculant {

// What of a look at the flow deserves a warning: dead_signal, exploding, vanishing_gradient, dead_units.
// Where the loss has risen since the first step, the step is to be blamed before the network.
std::vector<WatchWarning> flow_warnings(const GradientFlow& flow, int64_t step, bool loss_has_risen);

// The first layer whose outputs are not finite, or on the way back the first whose gradient is not, of a look
// at examples of a batch of so many.
std::string where_numbers_end(const GradientFlow& flow, int64_t batch);

}  // namespace osculant
