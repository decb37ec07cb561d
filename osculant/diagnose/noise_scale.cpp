#include "osculant/diagnose/noise_scale.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "osculant/base/error.h"
#include "osculant/base/text.h"
#include "osculant/curvature/example_gradients.h"
#include "osculant/spectrum/statistics.h"

namespace osculant {
namespace {

// tr C, |G|^2 and 1 / B from the sum of |g_i|^2, |g|^2 and N.
struct Moments {
  Tensor trace, signal, ratio;
};
Moments moments(const Tensor& squares, const Tensor& mean_square, double N) {
  Tensor trace = (squares - N * mean_square) / (N - 1), signal = mean_square - trace / N;
  return {trace, signal, signal / trace};
}

// Jackknife: variance (N - 1) / N sum of (x_(i) - mean)^2, x_(i) the estimate without example i.
Measured interval(const Tensor& all, const Tensor& without, double quantile) {
  auto N = static_cast<double>(without.numel());
  double error = std::sqrt((N - 1) / N * (without - without.mean()).square().sum().item<double>());
  double value = all.item<double>();
  return {value, value - quantile * error, value + quantile * error};
}

double turned_over(double ratio) {
  return ratio > 0 ? 1 / ratio : std::numeric_limits<double>::infinity();
}

void require_unweighted(const Objective& objective) {
  const BatchSource& data = objective.terms()[0].data;
  for (int64_t b = 0; b < data.batches(); ++b)
    if (data.batch(b).weights.defined())
      fail_usage("noise scale: examples have weights; it is defined for examples that count alike");
}

}  // namespace

NoiseScale noise_scale(const Objective& objective) {
  NoiseScale result;
  result.examples = objective.examples();
  if (!objective.has_outputs() || result.examples < 3)
    fail_usage(fmt::format("noise scale: {} examples: must be at least 3", result.examples));
  require_unweighted(objective);
  auto N = static_cast<double>(result.examples);
  Tensor g = objective.without_regularizers().value_and_gradient().second, squares;
  Tensor along = gradient_products(objective, g, &squares).to(at::kDouble);  // g_i'g
  squares = squares.to(at::kDouble);
  Tensor mean_square = g.to(at::kDouble).square().sum();

  // Without example i the mean is (N g - g_i) / (N - 1).
  Tensor left_mean_square = (N * N * mean_square - 2 * N * along + squares) / ((N - 1) * (N - 1));
  Moments all = moments(squares.sum(), mean_square, N);
  Moments left = moments(squares.sum() - squares, left_mean_square, N - 1);
  double t = student_quantile(0.975, N - 1);
  result.trace = interval(all.trace, left.trace, t);
  result.squared_gradient = interval(all.signal, left.signal, t);
  Measured inverse = interval(all.ratio, left.ratio, t);
  result.scale = {turned_over(inverse.value), turned_over(inverse.high), turned_over(inverse.low)};
  bool told = std::isfinite(result.scale.high);
  result.words = told
                     ? fmt::format("Gradient noise equals signal at batches of {} examples (95 %: {} to {}).",
                                   format_number(result.scale.value), format_number(result.scale.low),
                                   format_number(result.scale.high))
                     : fmt::format(
                           "Gradient noise equals signal at batches of {} examples or more (95 %): the mean "
                           "gradient of {} examples is not told from noise.",
                           format_number(result.scale.low), format_count(result.examples));
  return result;
}

}  // namespace osculant
