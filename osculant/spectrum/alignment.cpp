#include "osculant/spectrum/alignment.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "osculant/base/error.h"
#include "osculant/spectrum/ritz.h"

namespace osculant {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

// The pairs of one end, from the outermost inwards; values of the smallest end with their sign turned, so
// that both ends read as largest ones.
struct End {
  std::vector<double> value, residual, cosine;
  double margin;   // no eigenvalue that was not found is larger than the innermost value and this
  double pairing;  // bound, of those found
  double others;   // largest value found at the other end; -infinity without one
  bool complete;   // both ends together are all eigenvalues
};

// sin of the angle between what was found and the eigenvectors: at most residual / gap.
double angle_of(double residual, double gap) {
  if (!(gap > 0) || !(residual < gap)) return nan;
  return std::asin(residual / gap);
}

// The largest that an eigenvalue paired with none of the first k can be.
double largest_beside(const End& end, size_t k) {
  double bound = end.others + end.pairing;
  if (k < end.value.size()) bound = std::max(bound, end.value[k] + end.pairing);
  return end.complete ? bound : std::max(bound, end.value.back() + end.margin);
}

// cos^2, or abs(cos), of an angle whose cosine was seen as `cosine` and that may be off by `angle`.
Measured cosine_within(double cosine, double angle, bool squared) {
  auto power = [&](double c) { return squared ? c * c : c; };
  cosine = std::min(std::abs(cosine), 1.0);
  if (std::isnan(angle) || std::isnan(cosine)) return {power(cosine), nan, nan};
  double seen = std::acos(cosine);
  double far = std::min(seen + angle, std::acos(0.0)), near = std::max(seen - angle, 0.0);
  return {power(cosine), power(std::cos(far)), power(std::cos(near))};
}

EndAlignment align_end(const End& end) {
  EndAlignment found;
  double weight = 0, residuals = 0;
  for (size_t i = 0; i < end.value.size(); ++i) {
    double above = i > 0 ? end.value[i - 1] - end.pairing - end.value[i] : infinity;
    double beside = largest_beside(end, i + 1);
    double gap = std::min(above, end.value[i] - beside);
    found.cosines.push_back(cosine_within(end.cosine[i], angle_of(end.residual[i], gap), false));
    weight += end.cosine[i] * end.cosine[i];
    residuals += end.residual[i] * end.residual[i];
    double angle = angle_of(std::sqrt(residuals), end.value[i] - beside);
    found.shares.push_back(cosine_within(std::sqrt(weight), angle, true));
  }
  return found;
}

}  // namespace

Alignment align(const EigenResult& pairs, const Tensor& g) {
  return align(pairs, g, VectorSpace(pairs.size, g.options()));
}

Alignment align(const EigenResult& pairs, const Tensor& g, const VectorSpace& space) {
  if (g.dim() != 1 || g.size(0) != space.local_size() || space.size() != pairs.size ||
      pairs.target == EigenTarget::dominant)
    fail_usage(
        "align: takes a vector of the matrix's size, and pairs of the largest or smallest eigenvalues");
  Alignment found;
  found.vector_norm = space.norm(g);
  bool exact = pairs.stop == EigenStop::exact;
  found.miss_probability = exact ? 0 : pairs.missed_failure_probability;
  std::vector<double> values = to_vector(pairs.values), residuals = to_vector(pairs.residuals),
                      dots = to_vector(space.gram(pairs.vectors, g.unsqueeze(1)).select(1, 0));
  int64_t k = pairs.values.numel();
  int64_t split = pairs.target == EigenTarget::both       ? pairs.largest_count
                  : pairs.target == EigenTarget::smallest ? 0
                                                          : k;
  double margin = exact ? pairs.pairing_bound : found.miss_probability < 1 ? pairs.missed_margin() : infinity;
  // Lists that are long enough hold some eigenvalues twice: the innermost of both.
  int64_t twice = std::max<int64_t>(k - pairs.size, 0);
  auto end_of = [&](int64_t begin, int64_t end, int64_t other_begin, int64_t other_end, double sign) {
    End one{{}, {}, {}, margin, pairs.pairing_bound, -infinity, k >= pairs.size};
    for (int64_t i = begin; i < end; ++i) {
      one.value.push_back(sign * values[i]);
      one.residual.push_back(residuals[i]);
      one.cosine.push_back(found.vector_norm > 0 ? dots[i] / found.vector_norm : nan);
    }
    for (int64_t i = other_begin; i < other_end - twice; ++i)
      one.others = std::max(one.others, sign * values[i]);
    return one;
  };
  found.largest = align_end(end_of(0, split, split, k, 1));
  found.smallest = align_end(end_of(split, k, 0, split, -1));
  return found;
}

DirectionalCurvature curvature_along(const LinearOperator& A, const Tensor& d, double noise) {
  double norm = A.domain().norm(d);
  if (!(norm > 0)) return {nan, nan};
  Tensor unit = d / norm;
  return {A.domain().dot(unit, A.apply(unit)), noise};
}

}  // namespace osculant
