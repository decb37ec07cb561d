#pragma once

#include <string>
#include <vector>

#include "osculant/tensor/batch.h"

namespace osculant {

// Whether a file begins as a zip archive does, which torch.save writes.
bool is_torch_file(const std::string& path);

// The tensors of a dict that Python saved with torch.save({"inputs": x, ...}, path), by name, on the CPU.
// Only tensors under texts: nothing that would take code to rebuild. Throws Error(data) naming the file, and
// the entry where it is one's fault.
std::vector<NamedTensor> load_torch_tensors(const std::string& path);

}  // namespace osculant
