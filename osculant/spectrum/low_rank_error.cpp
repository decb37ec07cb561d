#include "osculant/spectrum/low_rank_error.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "osculant/spectrum/statistics.h"

namespace osculant {

double frobenius_squared(const VectorSpace& space, const Tensor& X) {
  double sum = 0;
  for (int64_t i = 0; i < X.size(1); ++i) sum += space.dot(X.select(1, i), X.select(1, i));
  return sum;
}

MeasuredNorm measure_remainder(const VectorSpace& space, const Remainder& remainder, int64_t probes,
                               double confidence, double rounding, RandomStream& random) {
  constexpr int64_t kBlock = 8;
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  int64_t n = space.size();
  bool every_column = remainder.rest && probes >= n;
  int64_t N = !remainder.rest ? 0 : every_column ? n : probes;
  double sum = 0;
  for (int64_t begin = 0; begin < N; begin += kBlock) {
    int64_t k = std::min(kBlock, N - begin);
    Tensor Z = every_column ? space.unit_vectors(begin, k) : space.normal(random, k);
    sum += frobenius_squared(space, remainder.rest(Z));
  }
  auto widened = [&](double rest, double low, double high, bool exact) {
    double known = remainder.known;
    return MeasuredNorm{std::sqrt(known + rest), std::max(0.0, std::sqrt(known + low) - rounding),
                        std::sqrt(known + high) + rounding, exact};
  };
  if (!remainder.rest || every_column) return widened(sum, sum, sum, true);
  if (N == 0)
    return {std::sqrt(remainder.known), std::max(0.0, std::sqrt(remainder.known) - rounding), kInfinity,
            false};
  double dof = static_cast<double>(N);
  return widened(sum / dof, sum / chi_square_quantile((1 + confidence) / 2, dof),
                 sum / chi_square_quantile((1 - confidence) / 2, dof), false);
}

}  // namespace osculant
