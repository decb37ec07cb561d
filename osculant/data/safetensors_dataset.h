#pragma once

#include <string>

#include "osculant/data/dataset.h"

namespace osculant {

// Examples from a safetensors file, or from a dict of tensors that torch.save wrote: `inputs` or
// `inputs.NAME`, `targets` or `targets.NAME` (none for an objective that needs none), optional `weights`; the
// first dimension is the example. Several come in the order of their names, since a safetensors file keeps no
// other. Unsigned integers of 16 to 64 bits, on which libtorch can hardly compute, become int64. Throws
// Error(data) naming the file and what is wrong with it, with the names that are there when the ones needed
// are not.
Dataset load_dataset(const std::string& path);

// The file that load_dataset reads back.
void save_dataset(const std::string& path, const Dataset& data);

}  // namespace osculant
