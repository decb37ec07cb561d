#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "osculant/io/zip_file.h"

namespace osculant {

// Where a tensor lies in a record of an archive, in elements.
struct Placement {
  std::vector<int64_t> sizes, strides;
  int64_t offset = 0;
  at::ScalarType dtype = at::kFloat;
  bool operator<(const Placement& other) const {
    return std::tie(sizes, strides, offset, dtype) <
           std::tie(other.sizes, other.strides, other.offset, other.dtype);
  }
};

// The tensors of an archive. What a placement claims is checked against its record before anything is
// allocated; equal placements in one record give one tensor (tied weights). `archive` must outlive this.
class RecordTensors {
 public:
  explicit RecordTensors(const ZipFile& archive) : archive_(archive) {}

  // On the CPU, contiguous. Throws Error(data) beginning with `where`, which names file and tensor.
  at::Tensor tensor(const std::string& record, const Placement& placement, const std::string& where);

 private:
  at::Tensor read(const std::string& record, const Placement& placement, const std::string& where);

  at::Tensor bytes_of(const std::string& record, const std::string& where);

  const ZipFile& archive_;
  std::map<std::pair<std::string, Placement>, at::Tensor> known_;
  int64_t given_ = 0, read_ = 0;  // bytes of all tensors so far, and of the records read for them
  std::string last_record_;
  at::Tensor last_;  // its bytes
};

}  // namespace osculant
