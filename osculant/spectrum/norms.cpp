#include "osculant/spectrum/norms.h"

#include <fmt/format.h>
#include <torch/autograd.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "osculant/base/error.h"
#include "osculant/base/random.h"
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

Tensor unit_vectors(const VectorSpace& space, int64_t begin, int64_t count) {
  Tensor E = space.zeros(count);
  E.narrow(0, begin, count).fill_diagonal_(1);
  return E;
}

// A chi-square of nu degrees of freedom a sample, nu = 2 mean^2 / variance and one at least, is never below
// 0. That the variance is known from N samples only widens the interval as a t interval is wider than a
// normal one.
Measured chi_square_interval(const RunningMoments& squares, double confidence) {
  double N = static_cast<double>(squares.count()), mean = squares.mean(), p = (1 + confidence) / 2;
  if (!(mean > 0)) return {mean, mean, mean};
  double wider = student_quantile(p, N - 1) / student_quantile(p, 1e6);
  double nu = squares.variance() > 0 ? 2 * mean * mean / (squares.variance() * wider * wider) : kInfinity;
  double dof = N * std::clamp(nu, 1.0, 1e4);
  return {mean, dof * mean / chi_square_quantile(p, dof), dof * mean / chi_square_quantile(1 - p, dof)};
}

}  // namespace

void ProbeOptions::check() const {
  require_at_least("probes", static_cast<double>(probes), 2);
  require_inside("confidence", confidence, 0, 1);
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
    return deflated ? X - pairs->vectors.mm(pairs->vectors.t().mm(X)) : X;
  };
  RunningMoments squares;
  for_each_block(
      A, columns ? n : options.probes,
      [&](int64_t begin, int64_t k) {
        return columns ? unit_vectors(space, begin, k)
                       : project(random.normal({k, space.local_size()}, space.options()).t());
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
  Measured rest = chi_square_interval(squares, options.confidence);
  return {std::sqrt(known + rest.value), std::sqrt(known + rest.low),
          std::sqrt(known + residual + rest.high)};
}

DiagonalEstimate diagonal(const LinearOperator& A, const ProbeOptions& options) {
  options.check();
  require_square(A, "diagonal");
  torch::NoGradGuard no_grad;
  const VectorSpace& space = A.domain();
  RandomStream random(options.seed, "diagonal");
  int64_t n = A.cols();
  bool columns = n <= options.probes;
  Tensor mean = at::zeros({n}, space.options()), squares = at::zeros({n}, space.options());
  double count = 0;
  for_each_block(
      A, columns ? n : options.probes,
      [&](int64_t begin, int64_t k) {
        return columns ? unit_vectors(space, begin, k)
                       : random.rademacher({k, space.local_size()}, space.options()).t();
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
