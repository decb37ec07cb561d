#include "osculant/spectrum/density.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "osculant/base/error.h"
#include "osculant/base/text.h"
#include "osculant/spectrum/counts.h"
#include "osculant/spectrum/statistics.h"

namespace osculant {
namespace {

// Widths of the kernel, as shares of the interval over the steps, for which 2m - 1 degrees resolve it: the
// bound of the quadrature's error is then about 1e-7 of the kernel's height.
constexpr double kResolvedWidth = 1.5;
constexpr int64_t kStepsOfExact = 60;  // as the default sample has
constexpr double kReach = 5;           // the grid goes so many widths beyond the ends

class DensityEstimate {
 public:
  DensityEstimate(const SpectralSample& sample, const DensityOptions& options)
      : sample_(sample), options_(options) {
    result_.confidence = options.confidence;
    result_.exact = sample.exact;
    result_.size = sample.size;
    result_.products = sample.products;
    result_.name = sample.name;
    result_.how = sample.how();
  }

  DensityResult run() {
    if (!sample_.usable()) return empty();
    result_.width = width_ = options_.width > 0 ? options_.width : resolved_width();
    for (const auto& probe : sample_.probes) all_exact_ = all_exact_ && probe.exact();
    std::vector<double> grid = make_grid();
    result_.grid = at::tensor(grid, at::kDouble);
    smooth(grid);
    accumulate(grid);
    measure_moments();
    return std::move(result_);
  }

 private:
  DensityResult empty() {
    Tensor none = at::empty({0}, at::kDouble);
    result_.grid = result_.density = result_.low = result_.high = none;
    result_.cumulative = result_.cumulative_low = result_.cumulative_high = none;
    result_.moments = result_.moment_errors = none;
    return std::move(result_);
  }

  double resolved_width() const {
    double steps = static_cast<double>(sample_.steps > 0 ? sample_.steps : kStepsOfExact);
    double width = kResolvedWidth * (sample_.high - sample_.low) / steps;
    double least = sample_.scale > 0 ? 1e-3 * sample_.scale : 1e-3;  // of a single eigenvalue
    return width > 1e-6 * sample_.scale && width > 0 ? width : least;
  }

  // Even over what is not deflated; around each value outside of it, a few points of its own.
  std::vector<double> make_grid() const {
    double low = sample_.low - kReach * width_, high = sample_.high + kReach * width_;
    if (sample_.rest() == 0 && !sample_.exact) low = high = sample_.known.front();
    std::vector<double> grid;
    for (int64_t i = 0; i < options_.points; ++i)
      grid.push_back(low + (high - low) * static_cast<double>(i) / static_cast<double>(options_.points - 1));
    for (double value : sample_.known)
      if (value < sample_.low || value > sample_.high)
        for (double step = -kReach; step <= kReach; step += 0.5)
          if (double t = value + step * width_; t < low || t > high) grid.push_back(t);
    std::sort(grid.begin(), grid.end());
    grid.erase(std::unique(grid.begin(), grid.end()), grid.end());
    return grid;
  }

  double kernel(double x) const {
    double z = x / width_;
    return std::exp(-z * z / 2) / (width_ * std::sqrt(2 * std::numbers::pi));
  }

  double n() const { return static_cast<double>(sample_.size); }
  double rest_share() const { return static_cast<double>(sample_.rest()) / n(); }

  void smooth(const std::vector<double>& grid) {
    double height = kernel(0);
    double polynomial =
        all_exact_ ? 0
                   : height * gaussian_quadrature_error(sample_.steps, width_, sample_.high - sample_.low);
    // Moving eigenvalues by D in all moves the sum of kernels by no more than D times the steepest slope.
    double moved = sample_.total_shift / n() * height / width_ * std::exp(-0.5);
    std::vector<double> value, low, high;
    for (double t : grid) {
      double known = 0;
      for (double l : sample_.known) known += kernel(t - l) / n();
      Spread rest = probes_at(t, polynomial);
      value.push_back(known + rest_share() * rest.mean);
      low.push_back(std::max(0.0, known + rest_share() * rest.low - moved));
      high.push_back(known + rest_share() * rest.high + moved);
    }
    result_.density = at::tensor(value, at::kDouble);
    result_.low = at::tensor(low, at::kDouble);
    result_.high = at::tensor(high, at::kDouble);
  }

  struct Spread {
    double mean = 0, low = 0, high = 0;
  };

  Spread probes_at(double t, double polynomial) {
    if (sample_.probes.empty()) return {};
    RunningMoments values, lows, highs;
    for (const auto& probe : sample_.probes) {
      auto f = [&](double x) { return kernel(t - x); };
      double value = probe.integral(f);
      Enclosure bounds{value, value};
      if (!probe.exact()) bounds = enclose(probe, f, t, value, polynomial);
      values.add(value);
      lows.add(bounds.low);
      highs.add(bounds.high);
    }
    double q = static_cast<double>(values.count());
    double half = student_quantile((1 + options_.confidence) / 2, q - 1) * std::sqrt(values.variance() / q);
    double quadrature = std::max(values.mean() - lows.mean(), highs.mean() - values.mean());
    result_.quadrature_error = std::max(result_.quadrature_error, rest_share() * quadrature);
    return {values.mean(), lows.mean() - half, highs.mean() + half};
  }

  Enclosure enclose(const ProbeMeasure& probe, const std::function<double(double)>& f, double t, double value,
                    double polynomial) const {
    if (polynomial < 1e-3 * kernel(0)) return {value - polynomial, value + polynomial};
    double low = std::min(sample_.low, t), high = std::max(sample_.high, t);
    Enclosure steps = probe.bounds_of_integral(f, {low, t, high});
    return {std::max(steps.low, value - polynomial), std::min(steps.high, value + polynomial)};
  }

  void accumulate(const std::vector<double>& grid) {
    std::vector<double> value, low, high;
    for (double t : grid) {
      EigenvalueCount count = count_below(sample_, t, options_.confidence);
      value.push_back(count.value / n());
      low.push_back(static_cast<double>(count.low) / n());
      high.push_back(static_cast<double>(count.high) / n());
    }
    result_.cumulative = at::tensor(value, at::kDouble);
    result_.cumulative_low = at::tensor(low, at::kDouble);
    result_.cumulative_high = at::tensor(high, at::kDouble);
  }

  void measure_moments() {
    std::vector<double> value, error;
    for (int power = 1; power <= 4; ++power) {
      double known = 0;
      for (double l : sample_.known) known += std::pow(l, power) / n();
      RunningMoments rest;
      for (const auto& probe : sample_.probes)
        rest.add(probe.integral([power](double x) { return std::pow(x, power); }));
      value.push_back(known + rest_share() * rest.mean());
      error.push_back(rest.count() == 0
                          ? 0
                          : rest_share() * std::sqrt(rest.variance() / static_cast<double>(rest.count())));
    }
    result_.moments = at::tensor(value, at::kDouble);
    result_.moment_errors = at::tensor(error, at::kDouble);
  }

  const SpectralSample& sample_;
  const DensityOptions& options_;
  DensityResult result_;
  double width_ = 0;
  bool all_exact_ = true;
};

}  // namespace

void DensityOptions::check() const {
  require_at_least("points", static_cast<double>(points), 2);
  require_non_negative("width", width);
  require_inside("confidence", confidence, 0, 1);
}

double DensityResult::wasserstein_error() const {
  if (grid.numel() < 2) return 0;
  return at::trapezoid((cumulative_high - cumulative_low) / 2, grid).item<double>();
}

std::string DensityResult::report() const {
  if (grid.numel() == 0) return fmt::format("density of {}: unknown ({})\n", name, how);
  auto quantile = [&](double share) {
    return grid[std::min<int64_t>((cumulative < share).sum().item<int64_t>(), grid.numel() - 1)]
        .item<double>();
  };
  std::string text = fmt::format(
      "density of {} (n = {}): {} to {}, half of the eigenvalues in {} to {}; {}\n", name, format_count(size),
      format_number(grid[0].item<double>()), format_number(grid[-1].item<double>()),
      format_number(quantile(0.25)), format_number(quantile(0.75)), how);
  if (exact) return text + fmt::format("  Exact, smoothed to a width of {}.\n", format_number(width));
  return text + fmt::format(
                    "  Smoothed to a width of {}; {:g} % intervals, of which the quadrature is at most {}; "
                    "distribution off by about {} in the mean.\n",
                    format_number(width), 100 * confidence, format_number(quadrature_error),
                    format_number(wasserstein_error()));
}

DensityResult spectral_density(const SpectralSample& sample, const DensityOptions& options) {
  options.check();
  return DensityEstimate(sample, options).run();
}

}  // namespace osculant
