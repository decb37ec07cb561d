#pragma once

#include <ATen/ATen.h>

#include "osculant/comm/communicator.h"

namespace osculant::testing {

constexpr double kRounding = 1e-12;

inline bool same_everywhere(const Tensor& x) {
  Tensor sum = x.clone();
  world_communicator().all_reduce_sum(sum);
  // The first process's numbers, as all others have them.
  Tensor of_first = world_communicator().is_first() ? x.clone() : at::zeros_like(x);
  world_communicator().all_reduce_sum(of_first);
  return world_communicator().least(of_first.equal(x) ? 1 : 0) > 0;
}

}  // namespace osculant::testing
