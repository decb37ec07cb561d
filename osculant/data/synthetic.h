#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "osculant/data/dataset.h"

// Data made by a rule. The numbers depend on the seed alone: they are drawn in float64 and cast to `dtype`.
namespace osculant::synthetic {

// Regression on what another network computes: x ~ N(0, I), y = V tanh(W x + b) + noise e, with the entries
// of W of variance 1 / inputs, those of V of variance 1 / hidden, b and e standard normal.
struct TeacherOptions {
  int64_t examples = 1000;
  int64_t inputs = 10;
  int64_t hidden = 20;
  int64_t outputs = 1;
  double noise = 0;  // >= 0
  uint64_t seed = 0;
  at::ScalarType dtype = at::kFloat;
  void check() const;
};
Dataset teacher(const TeacherOptions& options = {});

// Classification: each class a Gaussian of unit covariance round a centre drawn from N(0, separation^2 I);
// classes are as equal in number as can be, in random order. Targets int64.
struct MixtureOptions {
  int64_t examples = 1000;
  int64_t features = 10;
  int64_t classes = 3;    // <= examples
  double separation = 2;  // >= 0
  uint64_t seed = 0;
  at::ScalarType dtype = at::kFloat;
  void check() const;
};
Dataset gaussian_mixture(const MixtureOptions& options = {});

// One period: y = sin(pi x) on `examples` equidistant points of [-1, 1].
Dataset sine(int64_t examples = 41, at::ScalarType dtype = at::kFloat);

// y = sin(10 x) / (10 x), 1 at x = 0, with x uniform on [-1, 1].
Dataset sinc(int64_t examples = 2000, uint64_t seed = 0, at::ScalarType dtype = at::kFloat);

// All 2^bits patterns of -1 and 1, and whether an odd number of them is 1: targets 0 and 1, [2^bits, 1].
Dataset parity(int64_t bits, at::ScalarType dtype = at::kFloat);
inline Dataset exclusive_or(at::ScalarType dtype = at::kFloat) {
  return parity(2, dtype);
}

}  // namespace osculant::synthetic
