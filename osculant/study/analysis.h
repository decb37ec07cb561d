#pragma once

#include <functional>
#include <string>

#include "osculant/study/problem.h"
#include "osculant/study/result.h"

namespace osculant {

// One line of progress for whoever watches; may be empty.
using ShowProgress = std::function<void(const std::string& line)>;

// What an analysis is about to do, and what that will cost. Throws Error(memory) when it does not fit the
// memory budget, naming what would. Writes the defaults it chose back into `config`.
PlanRecord plan_analysis(const Problem& problem, RunConfig& config);

// The objective's value and gradient norms, and for each matrix of `config.analyze` eigenvalues at both ends
// with their bounds and the trace with its interval. Stops early, with status "interrupted", when the process
// is asked to end.
Result analyze(const Problem& problem, const RunConfig& config, const ShowProgress& progress);

}  // namespace osculant
