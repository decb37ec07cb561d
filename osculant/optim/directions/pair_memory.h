#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "osculant/io/archive.h"
#include "osculant/linop/vector_space.h"
#include "osculant/tensor/parameter_layout.h"

namespace osculant {

// The last pairs of a step s and the gradient's change y along it, oldest first: what limited-memory methods
// know.
class PairMemory {
 public:
  struct Pair {
    Tensor s, y;        // [n]
    double sy, yy, ss;  // s'y, y'y, s's
    // s'y > u norm(s) norm(y), u of the dtype
    bool shows_curvature() const;
  };

  explicit PairMemory(int64_t capacity) : capacity_(capacity) {}

  static Pair make(const Tensor& s, const Tensor& y);
  void push(Pair pair);  // forgets the oldest beyond the capacity
  void clear() { pairs_.clear(); }
  bool empty() const { return pairs_.empty(); }
  const std::deque<Pair>& pairs() const { return pairs_; }

  void save(Archive& archive) const;
  void load(const Archive& archive, const ParameterLayout& layout);

 private:
  int64_t capacity_;
  std::deque<Pair> pairs_;
};

}  // namespace osculant
