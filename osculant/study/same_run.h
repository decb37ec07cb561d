#pragma once

#include <string>
#include <vector>

#include "osculant/study/run_config.h"

namespace osculant {

// Throws Error(usage), naming the key, when run.toml in the folder says something else than `config`: going
// on would mix two runs. Keys that begin with an entry of `may_differ` may.
void require_same_run(const std::string& folder, const RunConfig& config,
                      const std::vector<std::string>& may_differ);

// Whether run.toml in the folder says just this, but for where the results go.
bool is_recorded_run(const std::string& folder, const RunConfig& config);

}  // namespace osculant
