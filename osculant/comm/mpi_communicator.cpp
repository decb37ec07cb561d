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
#include <cstring>
#include <thread>

#include "osculant/base/error.h"
#include "osculant/base/interrupt.h"
#include "osculant/base/stopwatch.h"

namespace osculant {
namespace {

MPI_Datatype mpi_type(at::ScalarType type) {
  if (type == at::kDouble) return MPI_DOUBLE;
  if (type == at::kFloat) return MPI_FLOAT;
  if (type == at::kLong) return MPI_INT64_T;
  return MPI_DATATYPE_NULL;
}

// A signal reaches the processes at different times, and who polls it must find the same everywhere. Agreed
// on while the message that this one lives through is under way, so that it costs no latency of its own.
class Agreement {
 public:
  Agreement() : signal_(pending_interrupt()) {
    MPI_Iallreduce(MPI_IN_PLACE, &signal_, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD, &request_);
  }
  ~Agreement() {
    MPI_Wait(&request_, MPI_STATUS_IGNORE);
    agree_on_interrupt(signal_);
  }
  Agreement(const Agreement&) = delete;

 private:
  int signal_;
  MPI_Request request_;
};

at::Tensor flat_on_host(const at::Tensor& tensor) {
  return tensor.detach().to(at::kCPU).contiguous().view(-1);
}

// Tensors of all processes in one, as bytes.
class Pieces {
 public:
  Pieces(const at::Tensor& mine, const std::vector<int64_t>& sizes) : width_(mine.element_size()) {
    begins_.push_back(0);
    for (int64_t size : sizes) begins_.push_back(begins_.back() + size * width_);
    whole_ = at::empty({bytes() / width_}, mine.options().device(at::kCPU).requires_grad(false));
  }
  int64_t bytes() const { return begins_.back(); }
  int64_t bytes_of(int rank) const { return begins_[rank + 1] - begins_[rank]; }
  char* whole() { return static_cast<char*>(whole_.data_ptr()); }
  char* piece(int rank) { return whole() + begins_[rank]; }
  void keep(const at::Tensor& mine, int rank) {
    if (bytes_of(rank) > 0) std::memcpy(piece(rank), data(mine), bytes_of(rank));
  }
  const void* data(const at::Tensor& mine) {
    mine_ = flat_on_host(mine);
    return mine_.const_data_ptr();
  }
  at::Tensor gathered(at::Device device) const { return whole_.to(device); }

  // As MPI wants them.
  std::vector<int> begins() const { return {begins_.begin(), begins_.end() - 1}; }
  std::vector<int> counts() const {
    std::vector<int> counts;
    for (size_t r = 0; r + 1 < begins_.size(); ++r) counts.push_back(bytes_of(static_cast<int>(r)));
    return counts;
  }

 private:
  int64_t width_;
  std::vector<int64_t> begins_;
  at::Tensor whole_, mine_;
};

class Mpi : public MpiCommunicator {
 public:
  explicit Mpi(int64_t message_bytes) : message_bytes_(std::clamp<int64_t>(message_bytes, 1, 1 << 30)) {
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
    Agreement interrupts;
    // Reduced in place where MPI can: on the host, stored in order, in a type it knows.
    auto type = tensor.scalar_type();
    bool known = mpi_type(type) != MPI_DATATYPE_NULL;
    at::Tensor on_host = tensor.detach().to(at::kCPU, known ? type : at::kFloat).contiguous();
    auto* numbers = static_cast<char*>(on_host.data_ptr());
    int64_t width = on_host.element_size();
    by_messages(on_host.numel(), width, [&](int64_t begin, int count) {
      MPI_Allreduce(MPI_IN_PLACE, numbers + begin * width, count, mpi_type(on_host.scalar_type()), MPI_SUM,
                    MPI_COMM_WORLD);
    });
    if (on_host.data_ptr() != tensor.data_ptr()) tensor.detach().copy_(on_host);
    count(on_host.numel() * width, watch);
  }

  at::Tensor all_gather(const at::Tensor& mine, const std::vector<int64_t>& sizes) const override {
    Stopwatch watch;
    Pieces pieces(mine, sizes);
    if (pieces.bytes() <= message_bytes_) {
      auto counts = pieces.counts(), begins = pieces.begins();
      MPI_Allgatherv(pieces.data(mine), counts[rank_], MPI_BYTE, pieces.whole(), counts.data(), begins.data(),
                     MPI_BYTE, MPI_COMM_WORLD);
    } else {  // displacements beyond MPI's int
      pieces.keep(mine, rank_);
      for (int r = 0; r < size_; ++r)
        by_messages(pieces.bytes_of(r), 1, [&](int64_t begin, int count) {
          MPI_Bcast(pieces.piece(r) + begin, count, MPI_BYTE, r, MPI_COMM_WORLD);
        });
    }
    count(pieces.bytes_of(rank_), watch);
    return pieces.gathered(mine.device());
  }

  at::Tensor gather_on_first(const at::Tensor& mine, const std::vector<int64_t>& sizes) const override {
    Stopwatch watch;
    if (rank_ > 0) {
      at::Tensor flat = flat_on_host(mine);
      by_messages(static_cast<int64_t>(flat.nbytes()), 1, [&](int64_t begin, int count) {
        MPI_Send(static_cast<char*>(flat.data_ptr()) + begin, count, MPI_BYTE, 0, 0, MPI_COMM_WORLD);
      });
      count(static_cast<int64_t>(flat.nbytes()), watch);
      return {};
    }
    Pieces pieces(mine, sizes);
    pieces.keep(mine, 0);
    for (int r = 1; r < size_; ++r)
      by_messages(pieces.bytes_of(r), 1, [&](int64_t begin, int count) {
        MPI_Recv(pieces.piece(r) + begin, count, MPI_BYTE, r, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      });
    count(pieces.bytes_of(0), watch);
    return pieces.gathered(mine.device());
  }

  double of_first(double value) const override {
    Agreement interrupts;
    MPI_Bcast(&value, 1, MPI_DOUBLE, 0, MPI_COMM_WORLD);
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
  // Messages of whole numbers of `width` bytes, in order: f(first number, how many).
  template <class Send>
  void by_messages(int64_t numbers, int64_t width, Send send) const {
    int64_t most = std::max<int64_t>(message_bytes_ / width, 1);
    for (int64_t begin = 0; begin < numbers; begin += most)
      send(begin, static_cast<int>(std::min(most, numbers - begin)));
  }

  void count(int64_t bytes, const Stopwatch& watch) const {
    ++traffic_.calls;
    traffic_.bytes += bytes;
    traffic_.seconds += watch.seconds();
  }

  int64_t message_bytes_;
  int rank_ = 0, size_ = 1, here_ = 1;
  MPI_Comm failures_ = MPI_COMM_NULL;
  mutable Traffic traffic_;
};

}  // namespace

std::unique_ptr<MpiCommunicator> start_mpi(int64_t message_bytes) {
  return std::make_unique<Mpi>(message_bytes);
}

}  // namespace osculant
