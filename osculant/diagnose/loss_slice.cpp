#include "osculant/diagnose/loss_slice.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "osculant/base/error.h"
#include "osculant/base/random.h"
#include "osculant/linop/orthonormalize.h"
#include "osculant/tensor/parameter_layout.h"

namespace osculant {
namespace {

// theta as it was, whatever happens.
class Excursion {
 public:
  explicit Excursion(ParameterLayout& layout) : layout_(layout), home_(layout.snapshot()) {}
  ~Excursion() { layout_.restore(home_); }
  Excursion(const Excursion&) = delete;
  Excursion& operator=(const Excursion&) = delete;

  double value_at(const Objective& objective, const Tensor& displacement) {
    layout_.assign(home_.theta + displacement);
    return objective.value();
  }

 private:
  ParameterLayout& layout_;
  ParameterSnapshot home_;
};

std::vector<double> grid(double radius, int64_t points) {
  std::vector<double> steps;
  for (int64_t i = 0; i < points; ++i)
    steps.push_back(radius * static_cast<double>(2 * i - (points - 1)) / static_cast<double>(points - 1));
  return steps;
}

bool stopped(const SliceOptions& options) {
  return options.go_on && !options.go_on();
}

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

}  // namespace

std::string_view to_string(SliceNormalization normalization) {
  switch (normalization) {
    case SliceNormalization::none:
      return "none";
    case SliceNormalization::layer:
      return "layer";
    case SliceNormalization::filter:
      return "filter";
  }
  return "";
}

void SliceOptions::check() const {
  require_at_least("points", static_cast<double>(points), 3);
  if (points % 2 == 0) fail_option("points", std::to_string(points), "odd, so that theta is one of them");
  require_non_negative("radius", radius);
}

double LossLine::reach(double share) const {
  size_t centre = steps.size() / 2;
  auto fits = [&](size_t i) {
    return std::abs(values[i] - model[i]) <= share * std::abs(values[i] - values[centre]);
  };
  size_t k = 0;
  while (k < centre && fits(centre - k - 1) && fits(centre + k + 1)) ++k;
  return steps[centre + k];
}

double slice_radius(double f, double slope, double curvature) {
  slope = std::abs(slope);
  curvature = std::abs(curvature);
  f = std::max(std::abs(f), 1e-3);
  if (curvature == 0) return slope > 0 ? f / slope : 1;
  // The root of curvature r^2 / 2 + slope r - f in the form that does not cancel.
  return 2 * f / (slope + std::sqrt(slope * slope + 2 * curvature * f));
}

LossSlices::LossSlices(const Objective& objective, const LinearOperator& A) : objective_(objective), A_(A) {
  std::tie(value_, gradient_) = objective.value_and_gradient();
}

LossLine LossSlices::line(const Tensor& d, const SliceOptions& options) const {
  options.check();
  const VectorSpace& space = A_.domain();
  double f = value_;
  LossLine line;
  line.slope = space.dot(gradient_, d);
  line.curvature = space.dot(d, A_.apply(d));
  line.radius = options.radius > 0 ? options.radius : slice_radius(f, line.slope, line.curvature);
  line.steps = grid(line.radius, options.points);
  Excursion excursion(objective_.layout());
  for (double t : line.steps) {
    line.model.push_back(f + t * line.slope + t * t * line.curvature / 2);
    line.values.push_back(stopped(options) ? nan : excursion.value_at(objective_, d * t));
  }
  return line;
}

LossPlane LossSlices::plane(const Tensor& D, const SliceOptions& options) const {
  options.check();
  double f = value_;
  Tensor slopes = A_.domain().gram(D, gradient_.unsqueeze(1)), curvature = A_.domain().gram(D, A_.apply(D));
  auto slope = [&](int64_t i) { return slopes[i][0].item<double>(); };
  double c11 = curvature[0][0].item<double>(), c22 = curvature[1][1].item<double>();
  double c12 = (curvature[0][1].item<double>() + curvature[1][0].item<double>()) / 2;
  LossPlane plane;
  plane.radius = options.radius > 0
                     ? options.radius
                     : std::min(slice_radius(f, slope(0), c11), slice_radius(f, slope(1), c22));
  plane.steps = grid(plane.radius, options.points);
  Tensor d1 = D.select(1, 0), d2 = D.select(1, 1);
  Excursion excursion(objective_.layout());
  for (double a : plane.steps) {
    auto& values = plane.values.emplace_back();
    auto& model = plane.model.emplace_back();
    for (double b : plane.steps) {
      model.push_back(f + a * slope(0) + b * slope(1) + (a * a * c11 + 2 * a * b * c12 + b * b * c22) / 2);
      values.push_back(stopped(options) ? nan : excursion.value_at(objective_, d1 * a + d2 * b));
    }
  }
  return plane;
}

namespace {

// Rows of d scaled to the norms of theta's rows; one row for a whole parameter.
void scale_rows(Tensor d, const Tensor& theta, int64_t rows) {
  Tensor from = d.reshape({rows, -1}), to = theta.reshape({rows, -1});
  Tensor norms = from.norm(2, {1}, true).clamp_min(std::numeric_limits<float>::min());
  d.copy_((from * (to.norm(2, {1}, true) / norms)).view(d.sizes()));
}

}  // namespace

Tensor random_plane(const ParameterLayout& layout, SliceNormalization normalization, uint64_t seed) {
  VectorSpace space(layout.size(), layout.options());
  RandomStream random(seed, "random plane");
  Tensor D = space.zeros(2);
  for (int64_t j = 0; j < 2; ++j) D.select(1, j).copy_(random.normal({layout.size()}, layout.options()));
  if (normalization == SliceNormalization::none) return orthonormalize(space, D).Q;
  for (int64_t j = 0; j < 2; ++j) {
    auto parts = layout.unflatten(D.select(1, j)), theta = layout.unflatten(layout.theta());
    for (size_t p = 0; p < parts.size(); ++p) {
      if (parts[p].dim() < 2)
        parts[p].zero_();
      else
        scale_rows(parts[p], theta[p], normalization == SliceNormalization::filter ? theta[p].size(0) : 1);
    }
  }
  return D;
}

}  // namespace osculant
