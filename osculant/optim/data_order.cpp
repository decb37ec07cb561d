#include "osculant/optim/data_order.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>

#include "osculant/base/error.h"
#include "osculant/base/random.h"

namespace osculant {

DataOrder::DataOrder(BatchSource source, int64_t batch_size, int64_t chunk, uint64_t seed, int64_t term)
    : source_(std::move(source)), batch_size_(batch_size), chunk_(chunk), seed_(seed), term_(term) {
  require_at_least("batch_size", static_cast<double>(batch_size), 1);
  batch_size_ = std::min(batch_size_, source_.examples());
}

int64_t DataOrder::current_size() const {
  return std::min(batch_size_, source_.examples() - position_ * batch_size_);
}

const Tensor& DataOrder::permutation() const {
  if (permutation_epoch_ != epoch_) {
    RandomStream stream(seed_, fmt::format("data order, term {}, epoch {}", term_, epoch_));
    permutation_ = stream.permutation(source_.examples());
    permutation_epoch_ = epoch_;
  }
  return permutation_;
}

BatchSource DataOrder::current() const {
  int64_t begin = position_ * batch_size_, size = current_size();
  auto batch = std::make_shared<BatchInMemory>(source_.select(permutation().narrow(0, begin, size)));
  return BatchSource(batch, chunk_ > 0 ? std::min(chunk_, size) : size);
}

void DataOrder::advance() {
  if (++position_ < batches()) return;
  position_ = 0;
  ++epoch_;
}

void DataOrder::move_to(int64_t epoch, int64_t position) {
  if (epoch < 0 || position < 0 || position >= batches())
    fail_data(fmt::format("checkpoint: epoch {}, batch {}: this run has {} batches an epoch", epoch, position,
                          batches()));
  epoch_ = epoch;
  position_ = position;
}

}  // namespace osculant
