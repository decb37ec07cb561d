#include "osculant/comm/flat_reduction.h"

#include <ATen/ATen.h>

#include <map>
#include <string>
#include <utility>

namespace osculant {

void all_reduce_sum(const Communicator& processes, const std::vector<at::Tensor>& tensors) {
  if (processes.alone()) return;
  std::map<std::pair<at::ScalarType, std::string>, std::vector<at::Tensor>> by_type;
  for (const auto& tensor : tensors) by_type[{tensor.scalar_type(), tensor.device().str()}].push_back(tensor);
  for (const auto& [type, same] : by_type) {
    std::vector<at::Tensor> parts;
    for (const auto& tensor : same) parts.push_back(tensor.reshape({-1}));
    at::Tensor flat = at::cat(parts);
    processes.all_reduce_sum(flat);
    int64_t begin = 0;
    for (at::Tensor tensor : same) {
      tensor.copy_(flat.narrow(0, begin, tensor.numel()).view(tensor.sizes()));
      begin += tensor.numel();
    }
  }
}

}  // namespace osculant
