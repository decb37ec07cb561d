#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "osculant/data/dataset.h"
#include "osculant/study/run_config.h"

namespace osculant {

// The training and the test data that a configuration names, transformed as it says: shuffled, taken from,
// pooled, scaled, normalised (the test data by the training data's statistics), flattened, autoencoding.
// Writes back what the data decide: the file of the default text, a transformer's vocabulary and context.
std::pair<Dataset, std::optional<Dataset>> load_data(RunConfig& config, uint64_t seed);

}  // namespace osculant
