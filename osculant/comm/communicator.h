#pragma once

#include <ATen/core/Tensor.h>

namespace osculant {

// The processes that share one run. Objective reduces its values, gradients and products through it, so that
// what is above never knows how many there are.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual void all_reduce_sum(at::Tensor& tensor) const = 0;  // in place, on the tensor's device
};

// One process: every reduction is the identity.
const Communicator& serial_communicator();

}  // namespace osculant
