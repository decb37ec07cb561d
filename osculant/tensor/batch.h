#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace osculant {

using at::Tensor;

struct NamedTensor {
  std::string name;  // "" where there is only one and nobody named it
  Tensor tensor;
};

// Some examples: every tensor's first dimension is the example.
struct Batch {
  std::vector<NamedTensor> inputs;
  std::vector<NamedTensor> targets;  // empty for an objective that needs none
  Tensor weights;                    // [size], or undefined when every example weighs 1

  // Examples: the first dimension of the first tensor there is; 0 for an empty batch.
  int64_t size() const {
    for (const auto* group : {&inputs, &targets})
      if (!group->empty()) return group->front().tensor.size(0);
    return 0;
  }

  // The same examples on a device, floating-point tensors in `dtype`; integers keep theirs.
  Batch to(at::Device device, at::ScalarType dtype) const;

  // Examples begin <= i < end, as views.
  Batch slice(int64_t begin, int64_t end) const;

  // The examples named by `indices` (int64 [m]), copied.
  Batch select(const Tensor& indices) const;
};

}  // namespace osculant
