#include "osculant/diagnose/sampling_error.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "osculant/base/error.h"
#include "osculant/base/random.h"
#include "osculant/spectrum/statistics.h"
#include "osculant/spectrum/trace.h"

namespace osculant {
namespace {

const std::vector<int64_t> kParts{2, 4, 8};
constexpr int64_t kFewestExamples = 16;
constexpr double kSlowest = 0.5, kFastest = 1;  // p of the bias c m^-p

void summarise(PartsOfASize& size) {
  RunningMoments moments;
  for (double value : size.values) moments.add(value);
  size.mean = moments.mean();
  size.deviation = std::sqrt(moments.variance());
}

const PartsOfASize& of_parts(const std::vector<PartsOfASize>& sizes, int64_t parts) {
  for (const auto& size : sizes)
    if (size.parts == parts) return size;
  fail_usage(fmt::format("extrapolate: needs parts of a {}-th of the examples", parts));
}

double bias_at_all(const PartsOfASize& size, double value, double p) {
  return (size.mean - value) / (std::pow(static_cast<double>(size.parts), p) - 1);
}

// p that halves and quarters suggest, in the range that theory leaves: (y_4 - y_2) / (y_2 - y) = 2^p.
double suggested(double value, const PartsOfASize& halves, const PartsOfASize& quarters) {
  double ratio = (quarters.mean - halves.mean) / (halves.mean - value);
  return ratio > 0 && std::isfinite(ratio) ? std::clamp(std::log2(ratio), kSlowest, kFastest) : kFastest;
}

}  // namespace

SamplingError extrapolate(double value, double error, int64_t examples, std::vector<PartsOfASize> sizes,
                          double confidence) {
  SamplingError found;
  found.value = value;
  found.error = error;
  auto N = static_cast<double>(examples);
  double squares = 0, weight = 0, most = 0;
  for (auto& size : sizes) {
    summarise(size);
    double dof = static_cast<double>(size.parts) - 1;
    squares += dof * size.deviation * size.deviation * N / static_cast<double>(size.parts);
    weight += dof;
    most = std::max(most, dof);
  }
  found.deviation = std::sqrt(squares / weight / N);

  const PartsOfASize &halves = of_parts(sizes, 2), &quarters = of_parts(sizes, 4);
  std::vector<double> bias;
  for (const auto* size : {&halves, &quarters})
    for (double p : {kSlowest, kFastest}) bias.push_back(bias_at_all(*size, value, p));
  auto [low, high] = std::minmax_element(bias.begin(), bias.end());
  found.bias = {bias_at_all(halves, value, suggested(value, halves, quarters)), *low, *high};

  double step = quarters.mean - halves.mean;
  double slow = halves.mean - step / std::pow(2, kSlowest), fast = halves.mean - step / std::pow(2, kFastest);
  found.predicted = {(slow + fast) / 2, std::min(slow, fast), std::max(slow, fast)};

  // The sizes are made of the same examples: the degrees of freedom are those of the smallest parts alone.
  double half_width = student_quantile(0.5 + confidence / 2, most) * found.deviation + error;
  found.population = {value - found.bias.value, value - found.bias.high - half_width,
                      value - found.bias.low + half_width};
  found.sizes = std::move(sizes);
  return found;
}

void SamplingErrorOptions::check() const {
  require_at_least("trace_products", static_cast<double>(trace_products), 2);
  require_positive("tolerance", tolerance);
}

bool has_parts(const Objective& objective) {
  return objective.terms().size() == 1 && objective.examples() >= kFewestExamples &&
         objective.terms()[0].model.required_batch_size() == 0;
}

void require_parts(const Objective& objective) {
  if (has_parts(objective)) return;
  if (objective.terms().size() != 1)
    fail_usage("sampling error: needs one data term, whose examples can be split into parts");
  if (objective.examples() < kFewestExamples)
    fail_usage(fmt::format("sampling error: {} examples cannot be split into eight parts: must be >= {}",
                           objective.examples(), kFewestExamples));
  fail_usage(
      fmt::format("sampling error: the model takes batches of {} alone, and parts of the examples come in "
                  "other sizes; export it for any batch size",
                  objective.terms()[0].model.required_batch_size()));
}

namespace {

struct Numbers {
  double largest, smallest, trace;
  double largest_error, smallest_error, trace_error;
};

// The extremes and the trace of one matrix.
Numbers measure(const LinearOperator& A, const EigenResult* pairs, const SamplingErrorOptions& options) {
  std::optional<EigenResult> own;
  if (pairs == nullptr || pairs->target != EigenTarget::both) {
    EigenOptions eigen;
    eigen.count = 1;
    eigen.target = EigenTarget::both;
    eigen.tolerance = options.tolerance;
    eigen.dense_limit = options.dense_limit;
    eigen.basis_bytes = options.basis_bytes;
    eigen.seed = options.seed;
    own = eigenpairs(A, eigen);
    pairs = &*own;
  }
  TraceOptions probes;
  probes.products =
      A.cols() <= options.dense_limit ? std::max(A.cols(), options.trace_products) : options.trace_products;
  probes.method = TraceMethod::hutchinson;
  probes.seed = options.seed;
  TraceResult sum = trace(A, probes);
  // With a single parameter the one eigenvalue is both ends.
  auto largest = pairs->largest(), smallest = pairs->smallest();
  const Eigenvalue& top = largest.front();
  const Eigenvalue& bottom = smallest.empty() ? largest.back() : smallest.front();
  return {top.value, bottom.value, sum.value, top.residual, bottom.residual, (sum.high - sum.low) / 2};
}

Objective on_examples(const Objective& objective, const Tensor& indices) {
  const BatchSource& data = objective.terms()[0].data;
  auto part = std::make_shared<BatchInMemory>(data.select(indices));
  return objective.on({BatchSource(part, std::min(data.batch_size(), part->size()))});
}

}  // namespace

SpectrumSamplingError sampling_error(const Objective& objective, const LinearOperator& A,
                                     const MatrixOf& make, const EigenResult* pairs,
                                     const SamplingErrorOptions& options) {
  options.check();
  require_parts(objective);
  int64_t N = objective.examples();
  SamplingProgress progress;
  for (int64_t parts : kParts) progress.matrices += parts;
  auto go_on = [&] { return !options.go_on || options.go_on(progress); };
  if (!go_on()) return {};
  Numbers whole = measure(A, pairs, options);
  Tensor order = RandomStream(options.seed, "parts of the examples").permutation(N);
  std::vector<PartsOfASize> largest, smallest, traces;
  for (int64_t parts : kParts) {
    for (auto* sizes : {&largest, &smallest, &traces}) sizes->push_back({.parts = parts, .values = {}});
    for (int64_t part = 0; part < parts; ++part) {
      ++progress.matrix;
      if (!go_on()) return {};
      progress.sizes_done += 1.0 / static_cast<double>(parts);
      int64_t begin = part * N / parts, end = (part + 1) * N / parts;
      auto matrix = make(on_examples(objective, order.slice(0, begin, end)));
      Numbers numbers = measure(*matrix, nullptr, options);
      largest.back().values.push_back(numbers.largest);
      smallest.back().values.push_back(numbers.smallest);
      traces.back().values.push_back(numbers.trace);
    }
  }
  return {extrapolate(whole.largest, whole.largest_error, N, largest),
          extrapolate(whole.smallest, whole.smallest_error, N, smallest),
          extrapolate(whole.trace, whole.trace_error, N, traces), true};
}

}  // namespace osculant
