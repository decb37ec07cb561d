#pragma once

#include <memory>

#include "osculant/comm/communicator.h"

namespace osculant {

// MPI's world. Tensors on other devices go through the host.
class MpiCommunicator : public Communicator {
 public:
  virtual int processes_on_this_machine() const = 0;
  virtual bool all_fail(double seconds) = 0;
  virtual void finish() = 0;
  [[noreturn]] virtual void abort(int code) = 0;
};

// Null in a build without MPI.
std::unique_ptr<MpiCommunicator> start_mpi(int64_t message_bytes);

}  // namespace osculant
