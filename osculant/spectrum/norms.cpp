#include "osculant/spectrum/norms.h"

#include <fmt/format.h>
#include <torch/autograd.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "osculant/base/error.h"
#include "osculant/base/random.h"
#include "osculant/base/text.h"
#include "osculant/spectrum/statistics.h"

namespace osculant {
namespace {

constexpr int64_t kBlock = 8;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

void require_square(const LinearOperator& A, const char* what) {
  if (A.rows() != A.cols())
    fail_usage(fmt::format("{}: {} is {} x {}: must be square", what, A.name(), A.rows(), A.cols()));
}

// Z and A Z by blocks: all unit vectors where probes reach n, else `count` that draw gives.
template <class Draw, class Use>
void for_each_block(const LinearOperator& A, int64_t count, Draw draw, Use use) {
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    Tensor Z = draw(begin, std::min(kBlock, count - begin));
    use(Z, A.apply(Z));
  }
}

}  // namespace

void ProbeOptions::check() const {
  require_at_least("probes", static_cast<double>(probes), 2);
  require_inside("confidence", confidence, 0, 1);
}

Measured interval_of_sum(const std::vector<RunningMoments>& samples, double confidence) {
  double sum = 0, variance = 0, fourth = 0, fewest = kInfinity, most = 0, p = (1 + confidence) / 2;
  for (const auto& sample : samples) {
    auto N = static_cast<double>(sample.count());
    double of_mean = sample.variance() / N;
    sum += sample.mean();
    variance += of_mean;
    fourth += of_mean * of_mean / (N - 1);
    fewest = std::min(fewest, N);
    most += N;
  }
  if (!(sum > 0)) return {sum, sum, sum};
  double dof = kInfinity;
  if (variance > 0) {
    double wider = student_quantile(p, variance * variance / fourth) / student_quantile(p, 1e6);  // Welch
    dof = 2 * sum * sum / (variance * wider * wider);
  }
  dof = std::clamp(dof, fewest, 1e4 * most);
  return {sum, dof * sum / chi_square_quantile(p, dof), dof * sum / chi_square_quantile(1 - p, dof)};
}

std::string in_words(const Measured& x) {
  if (!std::isfinite(x.value)) return "unknown";
  std::string value = format_number(x.value), low = format_number(x.low), high = format_number(x.high);
  return low == high ? value : fmt::format("{} ({} to {})", value, low, high);
}

Measured frobenius_norm(const LinearOperator& A, const ProbeOptions& options, const EigenResult* pairs) {
  options.check();
  require_square(A, "frobenius_norm");
  torch::NoGradGuard no_grad;
  const VectorSpace& space = A.domain();
  RandomStream random(options.seed, "frobenius norm");
  int64_t n = A.cols();
  bool columns = n <= options.probes, deflated = !columns && pairs && pairs->values.numel() > 0;
  auto project = [&](const Tensor& X) {
    return deflated ? X - pairs->vectors.mm(space.coefficients(pairs->vectors, X)) : X;
  };
  RunningMoments squares;
  for_each_block(
      A, columns ? n : options.probes,
      [&](int64_t begin, int64_t k) {
        return columns ? space.unit_vectors(begin, k) : project(space.normal(random, k));
      },
      [&](const Tensor&, const Tensor& AZ) {
        Tensor Y = project(AZ);
        for (int64_t i = 0; i < Y.size(1); ++i) squares.add(space.dot(Y.select(1, i), Y.select(1, i)));
      });
  if (!std::isfinite(squares.mean())) return {std::nan(""), -kInfinity, kInfinity};
  if (columns) {
    double norm = std::sqrt(squares.mean() * static_cast<double>(n));
    return {norm, norm, norm};
  }
  double known = deflated ? pairs->values.square().sum().item<double>() : 0;
  double residual = deflated ? 2 * pairs->residuals.square().sum().item<double>() : 0;
  Measured rest = interval_of_sum({squares}, options.confidence);
  return {std::sqrt(known + rest.value), std::sqrt(known + rest.low),
          std::sqrt(known + residual + rest.high)};
}

Measured spectral_norm(const EigenResult& pairs) {
  if (pairs.values.numel() == 0) return {std::nan(""), 0, kInfinity};
  Tensor magnitude = pairs.values.abs();
  double largest = magnitude.max().item<double>(),
         residual = pairs.residuals[magnitude.argmax()].item<double>();
  double margin = pairs.stop == EigenStop::exact ? residual : pairs.missed_margin();
  return {largest, std::max(0.0, largest - residual), largest + margin};
}

DiagonalEstimate diagonal(const LinearOperator& A, const ProbeOptions& options) {
  options.check();
  require_square(A, "diagonal");
  torch::NoGradGuard no_grad;
  const VectorSpace& space = A.domain();
  RandomStream random(options.seed, "diagonal");
  int64_t n = A.cols();
  bool columns = n <= options.probes;
  Tensor mean = space.zeros(1).select(1, 0), squares = space.zeros(1).select(1, 0);
  double count = 0;
  for_each_block(
      A, columns ? n : options.probes,
      [&](int64_t begin, int64_t k) {
        return columns ? space.unit_vectors(begin, k) : space.rademacher(random, k);
      },
      [&](const Tensor& Z, const Tensor& AZ) {
        for (int64_t i = 0; i < Z.size(1); ++i) {
          Tensor x = Z.select(1, i) * AZ.select(1, i), change = x - mean;
          if (columns) {
            mean.add_(x);
            continue;
          }
          mean.add_(change, 1 / ++count);  // Welford 1962
          squares.addcmul_(change, x - mean);
        }
      });
  if (columns) return {mean, squares};
  return {mean, (squares / (count * (count - 1))).sqrt()};
}

}  // namespace osculant
