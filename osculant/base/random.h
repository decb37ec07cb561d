#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>

namespace osculant {

// A named stream of random numbers. Streams of one seed with different names are independent, so that adding
// a consumer never changes what another draws; the same seed and name give the same numbers.
//
// Numbers are drawn on the CPU and moved, so that a run draws the same on every device.
class RandomStream {
 public:
  RandomStream(uint64_t seed, std::string_view name);

  at::Tensor normal(at::IntArrayRef shape, at::TensorOptions options = {});      // N(0, 1)
  at::Tensor uniform(at::IntArrayRef shape, at::TensorOptions options = {});     // [0, 1)
  at::Tensor rademacher(at::IntArrayRef shape, at::TensorOptions options = {});  // +-1 with equal probability
  at::Tensor permutation(int64_t n);                                             // int64 [n], CPU
  at::Tensor integers(int64_t high, at::IntArrayRef shape);                      // int64 in [0, high), CPU

  at::Generator& generator() { return generator_; }  // CPU

  // The whole state, a uint8 tensor: a stream restored from it goes on to the same bits.
  at::Tensor state() const { return generator_.get_state(); }
  void set_state(const at::Tensor& state) { generator_.set_state(state); }

 private:
  at::Generator generator_;
};

}  // namespace osculant
