#pragma once

#include <functional>
#include <string>
#include <vector>

#include "osculant/study/problem.h"
#include "osculant/study/race.h"
#include "osculant/study/result.h"
#include "osculant/study/result_directory.h"

namespace osculant {

// Where a comparison is, for whoever watches.
struct ComparisonStatus {
  std::string phase;  // "tuning, trial 2 of 5"; "seed 1 of 3"
  Budget budget;      // of each contestant in it
  std::string metric;
  std::vector<Standing> standings;
};
using ShowComparison = std::function<void(const ComparisonStatus&)>;

// What a comparison is about to do and cost. Throws Error(usage) for methods, options, budget or target that
// cannot be meant, Error(memory) when the methods do not fit the memory budget together. Writes the defaults
// it chose back into `config`.
PlanRecord plan_comparison(const Problem& problem, RunConfig& config);

// Throws Error(usage), naming the key, when the folder holds another comparison than `config` describes.
void require_same_comparison(const std::string& folder, const RunConfig& config);

// Methods against each other on the same problem. First every method that has a learning rate, a damping
// or the like, not given by the user, gets the same number of trials of it (tuning_values), from the first
// seed, each on a share of the budget; then, with the best of these, every method runs once from each seed on
// the whole budget. Methods take turns all the time (race), each on a network of its own: trial against
// trial, and seed against seed. The memory budget is shared out evenly.
//
// Contestants that come to their end are written to contestants.jsonl at once. With `resume` they are kept,
// and those that an interruption found running begin anew.
Result compare(const Problem& problem, const RunConfig& config, const ResultDirectory& folder, bool resume,
               const ShowComparison& show);

}  // namespace osculant
