#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "osculant/data/dataset.h"
#include "osculant/model/metrics.h"
#include "osculant/model/model.h"
#include "osculant/objective/objective.h"
#include "osculant/study/result.h"
#include "osculant/study/run_config.h"

namespace osculant {

// What a run works on, made from its configuration: network, loss and data, tried on a few examples, so that
// what does not fit together is found before anything else is done.
struct Problem {
  Model model;
  OutputLoss loss;
  Dataset train;
  std::optional<Dataset> test;
  std::vector<OutputMetric> metrics;
  int64_t memory_budget = 0;  // bytes

  Objective objective(int64_t batch_size) const;  // over the training data
};

// Sets threads and seed, reads everything, and writes the defaults it chose back into `config`. Throws
// Error(usage) for what the configuration lacks or contradicts, Error(data) for files that are damaged or do
// not fit, naming file, shapes and values.
Problem load_problem(RunConfig& config);

// Examples at a time: of "full" and of a number; never more than there are.
int64_t resolve_batch_size(const std::string& text, int64_t examples);

// Loss ("loss") and metrics on a data set at the present parameters, in evaluation mode. Charged to nobody.
std::map<std::string, double> evaluate(const Problem& problem, const Dataset& data, int64_t batch_size);

ModelRecord describe(const Model& model);
Result begin_result(const std::string& command, const Problem& problem);  // with model and data

// f and its gradient at the present parameters; Error(numerical) when they are not finite.
ObjectiveRecord measure_objective(const Objective& objective);

}  // namespace osculant
