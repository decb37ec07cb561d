#include "osculant/base/random.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

namespace osculant {
namespace {

// FNV-1a of the name, mixed with the seed by one round of SplitMix64 (Steele, Lea & Flood 2014), so that
// neighbouring seeds do not give neighbouring states.
uint64_t mix(uint64_t seed, std::string_view name) {
  uint64_t hash = 14695981039346656037ULL;
  for (unsigned char c : name) hash = (hash ^ c) * 1099511628211ULL;
  uint64_t z = hash + 0x9e3779b97f4a7c15ULL * (seed + 1);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

at::TensorOptions on_cpu(at::TensorOptions options) {
  return options.device(at::kCPU);
}

}  // namespace

RandomStream::RandomStream(uint64_t seed, std::string_view name)
    : generator_(at::detail::createCPUGenerator(mix(seed, name))) {}

at::Tensor RandomStream::normal(at::IntArrayRef shape, at::TensorOptions options) {
  return at::randn(shape, generator_, on_cpu(options)).to(options.device());
}

at::Tensor RandomStream::uniform(at::IntArrayRef shape, at::TensorOptions options) {
  return at::rand(shape, generator_, on_cpu(options)).to(options.device());
}

at::Tensor RandomStream::rademacher(at::IntArrayRef shape, at::TensorOptions options) {
  return at::randint(0, 2, shape, generator_, on_cpu(options)).mul_(2).sub_(1).to(options.device());
}

at::Tensor RandomStream::permutation(int64_t n) {
  return at::randperm(n, generator_, at::kLong);
}

at::Tensor RandomStream::integers(int64_t high, at::IntArrayRef shape) {
  return at::randint(high, shape, generator_, at::kLong);
}

}  // namespace osculant
