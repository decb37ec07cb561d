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

// Sums over eigenvalues of h and h^2, h >= 0, as q probes see them.
struct PartialSum {
  double sum = 0, squares = 0;
  void add(double weight, double h) {
    sum += weight * h;
    squares += weight * h * h;
  }
  Enclosure interval(double q, double confidence) const;
};

// k with P(X <= x) = p for X chi-square with k q degrees of freedom, which falls with k.
double count_with(double p, double x, double q) {
  double low = 0, high = x / q;
  while (chi_square_probability(x, high * q) > p) high *= 2;
  while (high - low > 1e-9 * high) {
    double middle = (low + high) / 2;
    (chi_square_probability(x, middle * q) > p ? low : high) = middle;
  }
  return (low + high) / 2;
}

Enclosure PartialSum::interval(double q, double confidence) const {
  if (!(sum > 0)) return {0, 0};
  double size = squares / sum, count = sum / size, x = count * q, p = (1 + confidence) / 2;
  if (x > 1e4) {
    double half = student_quantile(p, 1e6) * std::sqrt(2 * count / q);
    return {size * (count - half), size * (count + half)};
  }
  return {size * count_with(p, x, q), size * count_with(1 - p, x, q)};
}

// How far the linearisation of g at the means may lie below and above its estimate.
Enclosure probe_error(const std::vector<FunctionSample>& traces, const std::vector<double>& means,
                      const std::function<double(const std::vector<double>&)>& g, double confidence) {
  const auto& weights = traces[0].node_weights;
  std::vector<double> h(weights.size(), 0);
  for (size_t j = 0; j < traces.size(); ++j) {
    double step = 1e-5 * std::max(std::abs(means[j]), 1e-300);
    auto up = means, down = means;
    up[j] += step;
    down[j] -= step;
    double slope = (g(up) - g(down)) / (2 * step);
    for (size_t i = 0; i < h.size(); ++i) h[i] += slope * traces[j].at_nodes[i];
  }
  double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  double mean = std::inner_product(weights.begin(), weights.end(), h.begin(), 0.0) / total;
  PartialSum plus, minus;
  for (size_t i = 0; i < h.size(); ++i) {
    plus.add(weights[i], std::max(h[i] - mean, 0.0));
    minus.add(weights[i], std::max(mean - h[i], 0.0));
  }
  double q = static_cast<double>(traces[0].values.size());
  Enclosure up = plus.interval(q, confidence), down = minus.interval(q, confidence);
  return {std::hypot(plus.sum - up.low, down.high - minus.sum),
          std::hypot(up.high - plus.sum, minus.sum - down.low)};
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
  double probes = static_cast<double>(sample.probes.size()), share = rest / probes;
  for (size_t i = 0; i < sample.probes.size(); ++i) {
    const ProbeMeasure& probe = sample.probes[i];
    for (double node : probe.gauss().nodes) result.at_nodes.push_back(f(node));
    for (double weight : probe.gauss().weights)
      result.node_weights.push_back(sample.weights[i] * weight / probes);
    double value = probe.integral(f);
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
  Enclosure error, range = range_over_box(traces, g);
  if (traces[0].values.size() > 1) error = probe_error(traces, means, g, confidence);
  return {g(means), range.low - error.low, range.high + error.high};
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
