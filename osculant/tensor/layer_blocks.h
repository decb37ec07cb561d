#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "osculant/tensor/parameter_layout.h"

namespace osculant {

// The parameters of one layer as one piece of theta: "features.0" of "features.0.weight" and
// "features.0.bias".
struct LayerBlock {
  std::string name;
  int64_t offset = 0;
  int64_t size = 0;
};

// Neighbours in theta whose names agree up to the last dot, in theta's order; together they are all of it. A
// layer that lies in several pieces gives "0", "0 (2)".
std::vector<LayerBlock> layer_blocks(const ParameterLayout& layout);

}  // namespace osculant
