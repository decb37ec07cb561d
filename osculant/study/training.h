#pragma once

#include <string>

#include "osculant/study/analysis.h"
#include "osculant/study/problem.h"
#include "osculant/study/result.h"
#include "osculant/study/result_directory.h"

namespace osculant {

// What a training run is about to do and cost, one step measured. Throws Error(usage) for a method, option,
// budget or target that cannot be meant, Error(memory) when a step does not fit the memory budget. Writes the
// defaults it chose back into `config`.
PlanRecord plan_training(const Problem& problem, RunConfig& config);

// Throws Error(usage), naming the key, when the folder holds a run of another model, data, loss or method
// than `config` describes: going on would mix two runs. Limits (steps, budget, target ...) may differ, but
// not from those of a `finished` run.
void require_same_training(const std::string& folder, const RunConfig& config, bool finished = false);

// Trains, and writes metrics.jsonl, checkpoints, best.safetensors and parameters.safetensors into the folder.
// With `resume` goes on from its newest checkpoint, if there is one.
Result train(const Problem& problem, const RunConfig& config, const ResultDirectory& folder, bool resume,
             const ShowProgress& progress);

}  // namespace osculant
