#include "osculant/spectrum/spectrum_ends.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace osculant {
namespace {

SpectrumEnds ends_at(EigenTarget target, double above, double below) {
  SpectrumEnds ends;
  if (target != EigenTarget::smallest) ends.above = above;
  if (target != EigenTarget::largest) ends.below = below;
  return ends;
}

}  // namespace

double SpectrumEnds::escape_probability(int64_t n, const Tridiagonal& T) const {
  double p = 0;
  if (std::isfinite(above)) p += osculant::escape_probability(n, T, above);
  if (std::isfinite(below)) {
    Tridiagonal negative = T;
    for (double& alpha : negative.diagonal) alpha = -alpha;
    p += osculant::escape_probability(n, negative, -below);
  }
  return std::min(p, 1.0);
}

SpectrumEnds ends_beyond_innermost(const EigenResult& found, double slack) {
  double last = found.values[-1].item<double>();
  if (found.target == EigenTarget::dominant)
    return ends_at(found.target, std::abs(last) + slack, -std::abs(last) - slack);
  double last_above =
      found.target == EigenTarget::both ? found.values[found.largest_count - 1].item<double>() : last;
  return ends_at(found.target, last_above + slack, last - slack);
}

SpectrumEnds ends_beyond_outermost(EigenTarget target, double lowest, double highest, double slack) {
  if (target == EigenTarget::dominant) {
    highest = std::max(highest, -lowest);
    lowest = -highest;
  }
  return ends_at(target, highest + slack, lowest - slack);
}

}  // namespace osculant
