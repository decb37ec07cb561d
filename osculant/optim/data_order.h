#pragma once

#include <cstdint>
#include <vector>

#include "osculant/data/dataset.h"

namespace osculant {

// The order in which one source's examples are visited: a fresh permutation each epoch, drawn from the seed
// and the epoch's number alone, so that a position is all there is to remember. The last batch of an epoch
// may be smaller.
class DataOrder {
 public:
  // `chunk`: the batch is read in pieces of this many examples; 0 reads it whole.
  DataOrder(BatchSource source, int64_t batch_size, int64_t chunk, uint64_t seed, int64_t term);

  BatchSource current() const;  // the batch at the position
  int64_t current_size() const;
  void advance();

  int64_t epoch() const { return epoch_; }
  int64_t position() const { return position_; }  // batches of this epoch behind us
  int64_t batch_size() const { return batch_size_; }
  int64_t batches() const { return (source_.examples() + batch_size_ - 1) / batch_size_; }
  void move_to(int64_t epoch, int64_t position);

 private:
  const Tensor& permutation() const;

  BatchSource source_;
  int64_t batch_size_, chunk_;
  uint64_t seed_;
  int64_t term_;
  int64_t epoch_ = 0, position_ = 0;
  mutable Tensor permutation_;
  mutable int64_t permutation_epoch_ = -1;
};

}  // namespace osculant
