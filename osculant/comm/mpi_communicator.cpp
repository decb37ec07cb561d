#include "osculant/comm/mpi_communicator.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
// MPI-2's C++ interface, which these headers bring in otherwise, is another library.
#define OMPI_SKIP_MPICXX
#define MPICH_SKIP_MPICXX
#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "osculant/base/error.h"
#include "osculant/base/interrupt.h"
#include "osculant/base/stopwatch.h"

namespace osculant {
namespace {

// Numbers in one message; MPI counts them in an int.
constexpr int64_t kMessage = int64_t{1} << 28;

MPI_Datatype mpi_type(at::ScalarType type) {
  if (type == at::kDouble) return MPI_DOUBLE;
  if (type == at::kFloat) return MPI_FLOAT;
  if (type == at::kLong) return MPI_INT64_T;
  return MPI_DATATYPE_NULL;
}

class Mpi : public MpiCommunicator {
 public:
  Mpi() {
    int provided = 0;
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
    MPI_Comm here;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &here);
    MPI_Comm_size(here, &here_);
    MPI_Comm_free(&here);
    MPI_Comm_dup(MPI_COMM_WORLD, &failures_);
    share_interrupts();
    at::set_num_threads(std::max(1, at::get_num_threads() / here_));
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int processes_on_this_machine() const override { return here_; }
  Traffic traffic() const override { return traffic_; }

  void all_reduce_sum(at::Tensor& tensor) const override {
    Stopwatch watch;
    // Reduced in place where MPI can: on the host, stored in order, in a type it knows.
    auto type = tensor.scalar_type();
    bool known = mpi_type(type) != MPI_DATATYPE_NULL;
    at::Tensor on_host = tensor.detach().to(at::kCPU, known ? type : at::kFloat).contiguous();
    auto* numbers = static_cast<char*>(on_host.data_ptr());
    int64_t width = on_host.element_size();
    for (int64_t begin = 0; begin < on_host.numel(); begin += kMessage)
      MPI_Allreduce(MPI_IN_PLACE, numbers + begin * width,
                    static_cast<int>(std::min(kMessage, on_host.numel() - begin)),
                    mpi_type(on_host.scalar_type()), MPI_SUM, MPI_COMM_WORLD);
    if (on_host.data_ptr() != tensor.data_ptr()) tensor.detach().copy_(on_host);
    agree_on_interrupts();
    ++traffic_.calls;
    traffic_.bytes += on_host.numel() * width;
    traffic_.seconds += watch.seconds();
  }

  double of_first(double value) const override {
    MPI_Bcast(&value, 1, MPI_DOUBLE, 0, MPI_COMM_WORLD);
    agree_on_interrupts();
    return value;
  }

  double least(double value) const override {
    MPI_Allreduce(MPI_IN_PLACE, &value, 1, MPI_DOUBLE, MPI_MIN, MPI_COMM_WORLD);
    return value;
  }

  // A barrier of its own, given up after a while: processes that go on are in another one.
  bool all_fail(double seconds) override {
    MPI_Request request;
    MPI_Ibarrier(failures_, &request);
    Stopwatch watch;
    for (int done = 0; watch.seconds() < seconds; std::this_thread::sleep_for(std::chrono::milliseconds(5))) {
      MPI_Test(&request, &done, MPI_STATUS_IGNORE);
      if (done) return true;
    }
    return false;
  }

  void finish() override { MPI_Finalize(); }

  void abort(int code) override {
    MPI_Abort(MPI_COMM_WORLD, code);
    std::_Exit(code);
  }

 private:
  // A signal reaches the processes at different times, and who polls it must find the same everywhere.
  void agree_on_interrupts() const {
    int signal = pending_interrupt();
    MPI_Allreduce(MPI_IN_PLACE, &signal, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
    agree_on_interrupt(signal);
  }

  int rank_ = 0, size_ = 1, here_ = 1;
  MPI_Comm failures_ = MPI_COMM_NULL;
  mutable Traffic traffic_;
};

}  // namespace

std::unique_ptr<MpiCommunicator> start_mpi() {
  return std::make_unique<Mpi>();
}

}  // namespace osculant
