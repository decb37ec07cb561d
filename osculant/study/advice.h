#pragma once

#include <functional>
#include <string>

#include "osculant/study/advice_record.h"
#include "osculant/study/analysis_progress.h"
#include "osculant/study/problem.h"
#include "osculant/study/result.h"
#include "osculant/study/result_directory.h"

namespace osculant {

// What the advice will cost: its measurements and, where it was asked for, the race. Writes the defaults it
// chose back into `config`.
PlanRecord plan_advice(const Problem& problem, RunConfig& config);

// Measures what the choice of a method depends on, on up to 1,024 examples; ranks all methods (adviser.h),
// and settles it by a race where config.advise.race says so. Leaves advised.toml in the folder, a run file
// for osculant train.
Result advise(const Problem& problem, const RunConfig& config, const ResultDirectory& folder,
              const ShowProgress& show);

// Successive halving (Jamieson & Talwalkar 2016): the first `candidates` of the ranking, each with up to
// three values of what it is tuned by, on equal budgets that double while the better half goes on. Fills
// rounds, metric and winner, and returns the winner's configuration; nothing where all broke down or it was
// interrupted.
std::optional<RunConfig> race_advice(const Problem& problem, const RunConfig& config, AdviceRecord& advice,
                                     const ShowProgress& show);

}  // namespace osculant
