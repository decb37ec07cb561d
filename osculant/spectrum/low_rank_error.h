#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

#include "osculant/base/random.h"
#include "osculant/linop/vector_space.h"

namespace osculant {

// norm_F(E)^2 = known + norm_F(rest)^2, where products of `rest` with blocks can be had.
struct Remainder {
  double known = 0;
  std::function<Tensor(const Tensor& Z)> rest = {};  // [n, k] -> [n, k]; none: rest = 0
};

struct MeasuredNorm {
  double value = 0, low = 0, high = 0;
  bool exact = false;
};

// norm_F(E) from at most `probes` products of the rest: all of its columns where that is enough, else S =
// mean of norm(rest z)^2 over N normal z. N S / norm_F(rest)^2 is a weighted sum of chi-squares of N degrees
// of freedom each, with weights that sum to 1, and no weights spread it further at the quantiles used here
// than a single one (Roosta-Khorasani, Szekely & Ascher 2015), so that
//
//   norm_F(rest)^2 in [N S / q((1 + c) / 2), N S / q((1 - c) / 2)],  q the quantiles of chi-square with N,
//
// covers with the probability c at a rest of rank one and with more at any other. `rounding`, absolute,
// widens the interval of the norm at both ends.
MeasuredNorm measure_remainder(const VectorSpace& space, const Remainder& remainder, int64_t probes,
                               double confidence, double rounding, RandomStream& random);

double frobenius_squared(const VectorSpace& space, const Tensor& X);  // of a block [n, k]

}  // namespace osculant
