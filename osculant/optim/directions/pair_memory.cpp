#include "osculant/optim/directions/pair_memory.h"

#include <fmt/format.h>

#include <cmath>

namespace osculant {

bool PairMemory::Pair::shows_curvature() const {
  return sy > VectorSpace(s.numel(), s.options()).epsilon() * std::sqrt(ss * yy);
}

PairMemory::Pair PairMemory::make(const Tensor& s, const Tensor& y) {
  VectorSpace space(s.numel(), s.options());
  return {s, y, space.dot(s, y), space.dot(y, y), space.dot(s, s)};
}

void PairMemory::push(Pair pair) {
  pairs_.push_back(std::move(pair));
  if (static_cast<int64_t>(pairs_.size()) > capacity_) pairs_.pop_front();
}

void PairMemory::save(Archive& archive) const {
  archive.put("pairs", static_cast<int64_t>(pairs_.size()));
  for (size_t i = 0; i < pairs_.size(); ++i) {
    archive.put(fmt::format("s{}", i), pairs_[i].s);
    archive.put(fmt::format("y{}", i), pairs_[i].y);
  }
}

void PairMemory::load(const Archive& archive, const ParameterLayout& layout) {
  pairs_.clear();
  for (int64_t i = 0; i < archive.integer("pairs"); ++i)
    push(make(archive.tensor(fmt::format("s{}", i), layout.theta()),
              archive.tensor(fmt::format("y{}", i), layout.theta())));
}

}  // namespace osculant
