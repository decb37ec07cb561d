#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

#include "osculant/tensor/batch.h"

namespace osculant {

// The safetensors format: 8 bytes header length, a JSON header with names, dtypes, shapes and offsets, raw
// bytes. No code in it, and the same in Python. Held to the letter: a header longer than the file or than 100
// MB, unknown dtypes, shapes and offsets that do not agree, holes, overlaps, duplicate names and bytes left
// over are refused.

struct Safetensors {
  std::vector<NamedTensor> tensors;             // on the CPU, in the order of their bytes
  std::map<std::string, std::string> metadata;  // "__metadata__"

  bool contains(const std::string& name) const;
  const Tensor& tensor(
      const std::string& name) const;  // Error(data) when absent, with the nearest name there is
};

// Throws Error(data) naming the file, and the entry where it is one's fault. Allocates only what the file
// holds.
Safetensors load_safetensors(const std::string& path);

// Bool, integers of 8 to 64 bits, half, bfloat16, float and double, on any device. Written atomically; throws
// Error(write) when it cannot be, Error(usage) for a name given twice or a dtype that the format lacks.
void save_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors,
                      const std::map<std::string, std::string>& metadata = {});

}  // namespace osculant
