#pragma once

#include <string>

#include "osculant/study/analysis_progress.h"
#include "osculant/study/problem.h"
#include "osculant/study/result.h"
#include "osculant/study/result_directory.h"

namespace osculant {

// What an analysis is about to do, and what that will cost. Throws Error(memory) when it does not fit the
// memory budget, naming what would. Writes the defaults it chose back into `config`.
PlanRecord plan_analysis(const Problem& problem, RunConfig& config);

// Throws Error(usage) when the folder holds another analysis than the one configured.
void require_same_analysis(const std::string& folder, const RunConfig& config);

// The objective's value and gradient norms, and for each matrix of `config.analyze` its parts
// (analysis_part.h). Stops early, with status "interrupted", when the process is asked to end. After each
// part the folder's result.json holds all that is known, so that `resume` makes only what is missing.
Result analyze(const Problem& problem, const RunConfig& config, const ResultDirectory& folder, bool resume,
               const ShowProgress& progress);

// The same without a folder: nothing is kept.
Result analyze(const Problem& problem, const RunConfig& config, const ShowProgress& progress);

}  // namespace osculant
