#pragma once

#include "osculant/study/analysis_progress.h"
#include "osculant/study/problem.h"
#include "osculant/study/result.h"
#include "osculant/study/result_directory.h"

namespace osculant {

// `analyze --through DIR`: the ends of the spectrum, stable rank and gradient flow at every checkpoint that a
// training left in DIR. Each spectrum begins with the vectors of the one before (docs/spectrum.md).

PlanRecord plan_through(const Problem& problem, RunConfig& config);

// Leaves the model's parameters as they were. Stops early, with status "interrupted", when the process is
// asked to end; the points made so far are valid.
Result analyze_through(const Problem& problem, const RunConfig& config, const ResultDirectory& folder,
                       const ShowProgress& show);

// What the points show of the edge of stability (Cohen et al. 2021), in a sentence or two.
std::string stability_words(const ThroughRecord& through);

}  // namespace osculant
