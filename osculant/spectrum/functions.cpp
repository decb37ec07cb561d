#include "osculant/spectrum/functions.h"

#include <fmt/format.h>
#include <torch/autograd.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "osculant/base/error.h"
#include "osculant/base/random.h"
#include "osculant/spectrum/lanczos.h"
#include "osculant/spectrum/statistics.h"

namespace osculant {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int kGrid = 1000;

// The largest change of f over `distance` between the ends of what is not deflated and next to what is.
double modulus(const SpectralSample& sample, const std::function<double(double)>& f, double distance) {
  double worst = 0;
  auto look = [&](double x) {
    worst = std::max({worst, std::abs(f(x + distance) - f(x)), std::abs(f(x) - f(x - distance))});
  };
  if (sample.rest() > 0)
    for (int i = 0; i <= kGrid; ++i) look(sample.low + (sample.high - sample.low) * i / kGrid);
  if (sample.low <= 0 && sample.high >= 0) look(0);
  for (double l : sample.known) look(l);
  return worst;
}

// Ends and turns between them, for bounds_of_integral.
std::vector<double> pieces(const SpectralSample& sample, const SpectralFunction& function) {
  std::vector<double> points{sample.low};
  for (double turn : function.turns)
    if (turn > sample.low && turn < sample.high) points.push_back(turn);
  points.push_back(sample.high);
  return points;
}

// The largest and smallest g over a box, by a grid of its points.
Enclosure range_over_box(const std::vector<FunctionSample>& traces,
                         const std::function<double(const std::vector<double>&)>& g) {
  constexpr int kPoints = 9;
  Enclosure range{kInfinity, -kInfinity};
  int64_t total = static_cast<int64_t>(std::pow(kPoints, static_cast<double>(traces.size())));
  for (int64_t index = 0; index < total; ++index) {
    std::vector<double> at;
    int64_t left = index;
    for (const auto& trace : traces) {
      double share = static_cast<double>(left % kPoints) / (kPoints - 1);
      at.push_back(trace.mean() - trace.below + share * (trace.below + trace.above));
      left /= kPoints;
    }
    double value = g(at);
    range = {std::min(range.low, value), std::max(range.high, value)};
  }
  return range;
}

// Variance over probes of g's linearisation at the means.
double linear_variance(const std::vector<FunctionSample>& traces, const std::vector<double>& means,
                       const std::function<double(const std::vector<double>&)>& g) {
  size_t probes = traces[0].values.size();
  std::vector<double> change(probes, 0);
  for (size_t j = 0; j < traces.size(); ++j) {
    double step = 1e-5 * std::max(std::abs(means[j]), 1e-300);
    auto up = means, down = means;
    up[j] += step;
    down[j] -= step;
    double slope = (g(up) - g(down)) / (2 * step);
    for (size_t i = 0; i < probes; ++i) change[i] += slope * (traces[j].values[i] - means[j]);
  }
  RunningMoments moments;
  for (double x : change) moments.add(x);
  return moments.variance();
}

Tensor function_of(const Tensor& T, const std::function<double(double)>& f) {
  auto [values, vectors] = at::linalg_eigh(T);
  Tensor mapped = values.clone();
  double* entry = mapped.data_ptr<double>();
  for (int64_t i = 0; i < mapped.numel(); ++i) entry[i] = f(entry[i]);
  return vectors.mv(mapped * vectors[0]);
}

}  // namespace

double FunctionSample::mean() const {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

FunctionSample sample_function(const SpectralSample& sample, const SpectralFunction& function) {
  const auto& f = function.f;
  FunctionSample result;
  if (!sample.usable()) return result;
  double known = 0, rest = static_cast<double>(sample.rest()), n = static_cast<double>(sample.size);
  for (double l : sample.known) known += f(l);
  double moved = n * modulus(sample, f, sample.total_shift / n);
  result.below = result.above = moved;
  if (sample.rest() == 0) {
    result.values = {known};
    return result;
  }
  double polynomial = quadrature_error(sample.steps, f, sample.low, sample.high);
  auto points = pieces(sample, function);
  for (const auto& probe : sample.probes) {
    double value = probe.integral(f), share = rest / static_cast<double>(sample.probes.size());
    result.values.push_back(known + rest * value);
    if (probe.exact()) continue;
    Enclosure bounds = probe.bounds_of_integral(f, points);
    result.below += share * std::clamp(value - bounds.low, 0.0, polynomial);
    result.above += share * std::clamp(bounds.high - value, 0.0, polynomial);
  }
  return result;
}

Measured function_of_traces(const std::vector<FunctionSample>& traces,
                            const std::function<double(const std::vector<double>&)>& g, double confidence) {
  std::vector<double> means;
  for (const auto& trace : traces) {
    if (trace.values.empty()) return {std::nan(""), -kInfinity, kInfinity};
    means.push_back(trace.mean());
  }
  double probes = static_cast<double>(traces[0].values.size()), half = 0;
  if (probes > 1)
    half = student_quantile((1 + confidence) / 2, probes - 1) *
           std::sqrt(linear_variance(traces, means, g) / probes);
  Enclosure range = range_over_box(traces, g);
  return {g(means), range.low - half, range.high + half};
}

Measured trace_of_function(const SpectralSample& sample, const SpectralFunction& function,
                           double confidence) {
  return function_of_traces(
      {sample_function(sample, function)}, [](const std::vector<double>& x) { return x[0]; }, confidence);
}

Measured log_determinant(const SpectralSample& sample, double shift, double confidence) {
  double lowest = sample.rest() > 0 || sample.known.empty() ? sample.low : sample.known.front();
  if (!sample.known.empty()) lowest = std::min(lowest, sample.known.front());
  if (!sample.usable() || lowest + shift <= 2 * sample.shift) return {std::nan(""), -kInfinity, kInfinity};
  return trace_of_function(sample, {[shift](double x) { return std::log(x + shift); }}, confidence);
}

FunctionProduct apply_function(const LinearOperator& A, const std::function<double(double)>& f,
                               const Tensor& v, int64_t steps) {
  require_at_least("steps", static_cast<double>(steps), 1);
  if (!A.symmetric()) fail_usage(fmt::format("apply_function: {} is not declared symmetric", A.name()));
  torch::NoGradGuard no_grad;
  FunctionProduct result;
  const VectorSpace& space = A.domain();
  RandomStream random(0, "apply_function");
  Lanczos lanczos(A, {std::max<int64_t>(std::min(steps, A.cols()), 2), 0, true}, random);
  double norm = space.norm(v);
  result.value = at::zeros_like(v);
  if (!lanczos.start_from(v)) return result;
  while (lanczos.size() < std::min(steps, A.cols()) && !lanczos.first_cycle_closed() && result.finite)
    result.finite = lanczos.extend();
  result.steps = lanczos.size();
  if (result.steps == 0) return result;
  Tensor T = lanczos.projected(), whole = norm * function_of(T, f);
  result.value = lanczos.combine(whole.unsqueeze(1)).squeeze(1);
  if (lanczos.first_cycle_closed() || result.steps == A.cols()) return result;
  int64_t half = (result.steps + 1) / 2;
  Tensor part = norm * function_of(T.narrow(0, 0, half).narrow(1, 0, half), f);
  whole.narrow(0, 0, half).sub_(part);
  result.error = whole.norm().item<double>();
  return result;
}

}  // namespace osculant
