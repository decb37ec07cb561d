#pragma once

#include <functional>
#include <string>
#include <vector>

#include "osculant/curvature/regularizers.h"
#include "osculant/optim/options.h"

namespace osculant {

// A row of the table of regularisers, by the names that run files have for them.
struct RegularizerInfo {
  std::string name;
  std::string formula;   // R; g the gradient and B the curvature matrix of the data terms
  std::string citation;  // "" where the formula has none
  std::vector<OptionInfo> options;
  // Of options and the seed of what it draws; throws Error(usage) for an option unknown or out of range.
  std::function<std::shared_ptr<const Regularizer>(const OptionMap&, uint64_t seed)> make;
};

const std::vector<RegularizerInfo>& regularizer_table();
const RegularizerInfo& find_regularizer(const std::string& name);  // Error(usage) naming the nearest

}  // namespace osculant
