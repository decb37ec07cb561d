#include "osculant/comm/communicator.h"

#include <fmt/format.h>

#include <cstdlib>

#include "osculant/base/error.h"
#include "osculant/base/memory.h"
#include "osculant/comm/mpi_communicator.h"
#include "osculant/io/single_writer.h"

namespace osculant {
namespace {

class Serial : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void all_reduce_sum(at::Tensor&) const override {}
  at::Tensor all_gather(const at::Tensor& mine, const std::vector<int64_t>&) const override { return mine; }
  at::Tensor gather_on_first(const at::Tensor& mine, const std::vector<int64_t>&) const override {
    return mine;
  }
  double of_first(double value) const override { return value; }
  double least(double value) const override { return value; }
};

std::unique_ptr<MpiCommunicator>& several() {
  static std::unique_ptr<MpiCommunicator> communicator;
  return communicator;
}

}  // namespace

const Communicator& serial_communicator() {
  static const Serial serial;
  return serial;
}

const Communicator& world_communicator() {
  return several() ? *several() : serial_communicator();
}

int launched_processes() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"})
    if (const char* size = std::getenv(name)) return std::max(1, std::atoi(size));
  return 1;
}

void start_processes(int64_t message_bytes) {
  if (several() || launched_processes() == 1) return;
  several() = start_mpi(message_bytes);
  if (!several())
    fail_usage(fmt::format(
        "started by mpirun as one of {} processes, and this build has no MPI: start it without mpirun",
        launched_processes()));
  set_writes_files(several()->is_first());
}

void end_processes() {
  if (several()) several()->finish();
  several().reset();
}

bool all_processes_fail() {
  constexpr double patience = 3;  // seconds
  return several() && several()->all_fail(patience);
}

void abort_processes(int code) {
  if (several()) several()->abort(code);
  std::_Exit(code);
}

int64_t fair_share_of_memory() {
  int64_t free = available_memory() / 2;
  if (!several()) return free;
  auto here = static_cast<double>(free) / several()->processes_on_this_machine();
  return static_cast<int64_t>(several()->least(here));
}

Share share_of(int64_t count, const Communicator& communicator) {
  return share_of(count, communicator.rank(), communicator.size());
}

Share share_of(int64_t count, int64_t rank, int64_t size) {
  return {count * rank / size, count * (rank + 1) / size};
}

}  // namespace osculant
