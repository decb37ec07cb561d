#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace osculant {

using at::Tensor;

// The IDX format of the MNIST family: two zero bytes, a type, the number of dimensions, the dimensions and
// the elements, all big endian; plain or compressed by gzip. Elements keep their type: uint8, int8, int16,
// int32, float or double. Throws Error(data) naming the file when it is cut short, too long, or no IDX file.
Tensor load_idx(const std::string& path);

}  // namespace osculant
