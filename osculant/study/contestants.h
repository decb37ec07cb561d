#pragma once

#include <string>
#include <vector>

#include "osculant/study/problem.h"
#include "osculant/study/race.h"

namespace osculant {

// Who takes part in a comparison, as compare.methods has it.
struct Entry {
  std::string label;  // "adam", "sgd:learning_rate=0.1,weight_decay=1e-4"
  std::string method;
  OptionMap options;
  std::string batch_size;  // its own, given as an option; empty: train.batch_size
};

// compare.methods read and tried: Error(usage) naming the key for a method or option that cannot be meant,
// and for one that comes twice. Commas separate methods; what has a '=' and no ':' before it belongs to the
// method before it.
std::vector<Entry> read_entries(const RunConfig& config);

// The run of `osculant train` with this method, options and seed.
RunConfig training_config(const RunConfig& config, const Entry& entry, const OptionMap& options,
                          int64_t seed);

// The same data and loss on a network of its own, initialised by the configuration's seed, with this much
// memory.
Problem with_own_model(const Problem& problem, const RunConfig& config, int64_t memory_budget);

// Trains `problem`, which must outlive the contestant.
Contestant make_contestant(const Problem& problem, const RunConfig& config, const std::string& label);

}  // namespace osculant
