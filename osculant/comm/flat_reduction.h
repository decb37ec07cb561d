#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "osculant/comm/communicator.h"

namespace osculant {

// Sums over the processes of each of some tensors, in place and in one message for each dtype (and device)
// among them. Every process has the same number of them, of the same shapes.
void all_reduce_sum(const Communicator& processes, const std::vector<at::Tensor>& tensors);

}  // namespace osculant
