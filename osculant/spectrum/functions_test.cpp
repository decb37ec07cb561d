#include "osculant/spectrum/functions.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "osculant/base/error.h"
#include "osculant/spectrum/testing.h"

namespace osculant {
namespace {

using testing::cat;
using testing::rotated_diagonal;

// Positive definite, of several shapes.
std::vector<testing::Spectrum> positive(int64_t n) {
  Tensor ramp = at::linspace(0.5, 1.5, n, at::kDouble);
  return {{"flat", ramp},
          {"power law", at::arange(1, n + 1, at::kDouble).pow(-1)},
          {"clusters", cat({at::full({n / 4}, 9., at::kDouble), at::full({n - n / 4}, 0.5, at::kDouble)})},
          {"outliers", cat({at::tensor({50., 20., 8.}, at::kDouble), ramp.slice(0, 3)})}};
}

TEST(TraceOfAFunction, IsExactWhereTheMatrixIsFormed) {
  for (auto& [name, l] : testing::spectra(60)) {
    auto sample = sample_spectrum(*rotated_diagonal(l, 1));
    auto size = trace_of_function(sample, {[](double x) { return std::abs(x); }, {0}});
    double truth = l.abs().sum().item<double>();
    EXPECT_NEAR(size.value, truth, 1e-11 * truth) << name;
    EXPECT_LE(size.low, truth);
    EXPECT_GE(size.high, truth);
    EXPECT_LT(size.high - size.low, 1e-9 * truth);
  }
}

TEST(LogDeterminant, CoversAsOftenAsItSays) {
  for (auto& [name, l] : positive(80)) {
    auto A = diagonal_operator(l);
    double truth = (l + 0.1).log().sum().item<double>();
    int covered = 0;
    for (uint64_t seed = 0; seed < 200; ++seed) {
      auto sample = sample_spectrum(*A, {.steps = 18, .probes = 6, .dense_limit = 0, .seed = seed});
      auto log_det = log_determinant(sample, 0.1);
      covered += log_det.low <= truth && truth <= log_det.high;
    }
    EXPECT_GE(covered, 180) << name;
    EXPECT_LE(covered, 199) << name;
  }
}

// Two steps resolve little; the quadrature's part must then cover, probes agreeing with each other or not.
TEST(TraceOfAFunction, AllowsForTheQuadrature) {
  Tensor l = at::linspace(-1, 1, 1000, at::kDouble);
  auto sample = sample_spectrum(*diagonal_operator(l), {.steps = 2, .probes = 40, .dense_limit = 0});
  auto size = trace_of_function(sample, {[](double x) { return std::abs(x); }, {0}});
  double truth = l.abs().sum().item<double>();
  EXPECT_GT(std::abs(size.value - truth), 50);
  EXPECT_LE(size.low, truth);
  EXPECT_GE(size.high, truth);
}

TEST(LogDeterminant, WithPairsDeflatedIsNarrower) {
  Tensor l = positive(300)[3].eigenvalues;
  auto A = rotated_diagonal(l, 3);
  auto pairs = eigenpairs(*A, {.count = 3, .tolerance = 1e-8});
  double truth = l.log().sum().item<double>();
  SampleOptions options{.steps = 20, .probes = 6, .dense_limit = 0};
  auto plain = log_determinant(sample_spectrum(*A, options), 0);
  auto deflated = log_determinant(sample_spectrum(*A, options, &pairs), 0);
  EXPECT_LE(deflated.low, truth);
  EXPECT_GE(deflated.high, truth);
  EXPECT_LT(deflated.high - deflated.low, plain.high - plain.low);
}

TEST(LogDeterminant, OfAMatrixThatMayBeSingularIsUnknown) {
  for (int64_t limit : {0, 500}) {
    SampleOptions options{.dense_limit = limit};
    auto A = diagonal_operator(at::linspace(-1, 1, 50, at::kDouble));
    EXPECT_TRUE(std::isnan(log_determinant(sample_spectrum(*A, options), 0.5).value));
    EXPECT_NEAR(log_determinant(sample_spectrum(*A, options), 3).value,
                (at::linspace(-1, 1, 50, at::kDouble) + 3).log().sum().item<double>(), 3);
    auto nothing = sample_spectrum(*A, {.dense_limit = 0, .progress = [](int64_t) { return false; }});
    EXPECT_TRUE(std::isnan(log_determinant(nothing, 3).value));
    EXPECT_EQ(trace_of_function(nothing, {[](double x) { return x; }}).high, INFINITY);
  }
}

TEST(ApplyFunction, IsTheFunctionInTheBasisOfEigenvectors) {
  for (auto& [name, l] : positive(120)) {
    SCOPED_TRACE(name);
    auto A = diagonal_operator(l);
    Tensor v = RandomStream(4, "v").normal({120}, at::kDouble);
    auto root = [](double x) { return std::sqrt(x + 0.1); };
    auto result = apply_function(*A, root, v, 30);
    Tensor truth = (l + 0.1).sqrt() * v;
    double error = (result.value - truth).norm().item<double>();
    EXPECT_LE(error, result.error + 1e-12);
    EXPECT_LT(error, 1e-6 * truth.norm().item<double>());
    EXPECT_LE(A->products(), 30);
  }
  auto clusters = apply_function(
      *diagonal_operator(positive(120)[2].eigenvalues), [](double x) { return 1 / x; },
      at::ones({120}, at::kDouble));
  EXPECT_EQ(clusters.steps, 2);
  EXPECT_EQ(clusters.error, 0);
  auto A = diagonal_operator(at::ones({5}, at::kDouble));
  EXPECT_EQ(apply_function(
                *A, [](double x) { return x; }, at::zeros({5}, at::kDouble))
                .value.norm()
                .item<double>(),
            0);
  auto nan = diagonal_operator(at::full({5}, NAN, at::kDouble));
  EXPECT_FALSE(apply_function(
                   *nan, [](double x) { return x; }, at::ones({5}, at::kDouble))
                   .finite);
}

}  // namespace
}  // namespace osculant
