#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <unordered_map>

namespace osculant::exported {

using at::Tensor;

// A tensor stored in the file, on the CPU in the dtype it has there. Entries that share a record and agree in
// every other respect (tied weights) share the tensor.
struct StoredTensor {
  Tensor tensor;
  bool requires_grad = false;
};

// The parts of a file of torch.export.save that osculant reads.
struct Archive {
  std::string model_json;
  std::unordered_map<std::string, StoredTensor> weights;    // parameters and buffers, by name
  std::unordered_map<std::string, StoredTensor> constants;  // non-persistent buffers and tensors of the code
};

// Reads them. Sizes, strides and offsets are checked against the record they claim before anything is
// allocated. Throws Error(data) naming the file for one that is missing, truncated, or something else.
Archive read_archive(const std::string& path);

// The scalar type that a code of the export schema stands for (7 is float32), which are not c10's own codes.
at::ScalarType scalar_type_of(int64_t code);

}  // namespace osculant::exported
