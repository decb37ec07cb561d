#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "osculant/optim/methods.h"
#include "osculant/study/result.h"

namespace osculant {

// Values of a method's tuned option (MethodInfo::tuned), at most `trials`: its default d first, then away
// from it by turns: d times 1, 3, 0.3, 10, 0.1, ... for a learning rate, and d times 1, 10, 0.1, 100, ... for
// a damping or its like. Values that the method refuses are left out. Empty where the method has no such
// option, or `given` sets it already.
std::vector<double> tuning_values(const MethodInfo& method, const OptionMap& given, int64_t trials);

// The trial to follow: of those that reached the target the one that spent least, else the one that ended
// best, the earlier where two are equal. Failed ones are never followed; the first when all failed.
// `comparison` says what counts.
size_t best_trial(const std::vector<ContestantRecord>& trials, const ComparisonRecord& comparison);

}  // namespace osculant
