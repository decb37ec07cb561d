#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace osculant {

// What went over the wire so far, of this process.
struct Traffic {
  int64_t calls = 0, bytes = 0;  // bytes given to reductions and gatherings
  double seconds = 0;            // spent in them, waiting for the others included
};

// The processes that share one run. Objective reduces its values, gradients and products through it, so that
// what is above never knows how many there are. All functions but rank and size are collective: every process
// must call them, in the same order.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual void all_reduce_sum(at::Tensor& tensor) const = 0;  // in place, on the tensor's device
  // The processes' tensors, flat, one after the other; sizes[r] numbers of process r. On every process, or on
  // the first alone, where the others get none.
  virtual at::Tensor all_gather(const at::Tensor& mine, const std::vector<int64_t>& sizes) const = 0;
  virtual at::Tensor gather_on_first(const at::Tensor& mine, const std::vector<int64_t>& sizes) const = 0;
  // The first process's number, for all to decide by: times, what memory is free.
  virtual double of_first(double value) const = 0;
  virtual double least(double value) const = 0;
  virtual Traffic traffic() const { return {}; }

  bool is_first() const { return rank() == 0; }
  bool alone() const { return size() == 1; }
};

// One process: every reduction is the identity.
const Communicator& serial_communicator();

// All processes that were started together: the serial one until start_processes() found others. Objectives
// made after that share their data among them.
const Communicator& world_communicator();

// How many processes the launcher says there are (mpirun's environment): 1 without one.
int launched_processes();
// Joins them. Does nothing where there is one. Error(usage) where there are several and this build has no
// MPI. An interrupt reaches all of them after the same reduction (base/interrupt.h). What is longer than
// `message_bytes` goes in several messages.
void start_processes(int64_t message_bytes = int64_t{1} << 30);
void end_processes();  // waits for the others
// For a process that cannot go on: true where no other can, either (a mistake that all met), after which each
// may end in peace. False where the others go on, or there are none.
bool all_processes_fail();
// Ends all of them at once, with this exit code.
[[noreturn]] void abort_processes(int code);

// Bytes that a process may take for itself where nothing was said: half of what is free, shared fairly among
// those on this machine. The same number everywhere.
int64_t fair_share_of_memory();

// This process's part of `count` things, in order and as even as can be.
struct Share {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};
Share share_of(int64_t count, const Communicator& communicator);
Share share_of(int64_t count, int64_t rank, int64_t size);

}  // namespace osculant
