#pragma once

#include <vector>

#include "osculant/io/archive.h"
#include "osculant/linop/kronecker.h"
#include "osculant/tensor/parameter_layout.h"

namespace osculant {

// Blocks in their eigenbases as entries of a checkpoint, and back on the layout's device.
void save(Archive& archive, const std::vector<EigenBlock>& blocks);
std::vector<EigenBlock> load_eigen_blocks(const Archive& archive, const ParameterLayout& layout);

}  // namespace osculant
