#include "osculant/spectrum/trace.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <limits>

#include "osculant/base/error.h"
#include "osculant/spectrum/statistics.h"
#include "osculant/spectrum/testing.h"

namespace osculant {
namespace {

using testing::cat;
using testing::rotated_diagonal;

// A dense operator: random eigenvectors, so that signs do not happen to fit them.
OperatorPtr dense_with(const Tensor& eigenvalues, uint64_t seed, at::ScalarType dtype = at::kDouble) {
  int64_t n = eigenvalues.numel();
  Tensor Q = std::get<0>(at::linalg_qr(RandomStream(seed, "matrix").normal({n, n}, at::kDouble)));
  return dense_operator(Q.mm(at::diag(eigenvalues)).mm(Q.t()).to(dtype), true);
}

Tensor flat(int64_t n) {
  return 1 + 0.1 * at::linspace(0, 1, n, at::kDouble);
}
Tensor power_law(int64_t n, double power) {
  return at::arange(1, n + 1, at::kDouble).pow(-power);
}
Tensor clustered(int64_t n) {
  return cat({at::full({8}, 20.0, at::kDouble), at::full({8}, -5.0, at::kDouble), 0.1 * flat(n - 16)});
}

struct Case {
  const char* name;
  Tensor eigenvalues;
  TraceMethod method;
};

class TraceInterval : public ::testing::TestWithParam<Case> {};

TEST_P(TraceInterval, CoversAsOftenAsItSays) {
  const auto& c = GetParam();
  auto A = dense_with(c.eigenvalues, 1);
  double truth = c.eigenvalues.sum().item<double>();
  int covered = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    auto result = trace(*A, {.products = 90, .method = c.method, .seed = seed});
    EXPECT_FALSE(result.exact);
    EXPECT_EQ(result.products, 90);
    EXPECT_GE(result.probes, 30);
    covered += result.low <= truth && truth <= result.high;
  }
  EXPECT_GE(covered, 180);
  EXPECT_LE(covered, 198);
}

INSTANTIATE_TEST_SUITE_P(
    Spectra, TraceInterval,
    ::testing::Values(Case{"flat", flat(150), TraceMethod::automatic},
                      Case{"power law 0.5", power_law(150, 0.5), TraceMethod::automatic},
                      Case{"power law 2", power_law(150, 2), TraceMethod::automatic},
                      Case{"clustered", clustered(150), TraceMethod::automatic},
                      Case{"plus minus", cat({power_law(75, 1), -power_law(75, 1)}), TraceMethod::automatic},
                      Case{"power law 1, plain", power_law(150, 1), TraceMethod::hutchinson},
                      Case{"power law 1, deflated", power_law(150, 1), TraceMethod::deflated}),
    [](const auto& info) { return std::to_string(info.index); });

TEST(Trace, ChoosesTheMethodWithTheSmallerError) {
  auto mean_square = [](const LinearOperator& A, double truth, TraceMethod method) {
    double sum = 0;
    for (uint64_t seed = 0; seed < 60; ++seed) {
      double error = trace(A, {.products = 90, .method = method, .seed = seed}).value - truth;
      sum += error * error / 60;
    }
    return sum;
  };
  for (auto& eigenvalues :
       {flat(150), power_law(150, 0.3), power_law(150, 1), power_law(150, 2), clustered(150)}) {
    auto A = dense_with(eigenvalues, 2);
    double truth = eigenvalues.sum().item<double>();
    double plain = mean_square(*A, truth, TraceMethod::hutchinson),
           deflated = mean_square(*A, truth, TraceMethod::deflated);
    double automatic = mean_square(*A, truth, TraceMethod::automatic);
    EXPECT_LT(automatic, 1.6 * std::min(plain, deflated)) << plain << " " << deflated;
  }
}

TEST(Trace, IsExactWhereTheProductsAllowIt) {
  for (auto dtype : {at::kDouble, at::kFloat}) {
    double tolerance = dtype == at::kDouble ? 1e-13 : 1e-4;
    Tensor d = power_law(60, 1);
    double truth = d.sum().item<double>();
    auto whole = trace(*dense_with(d, 3, dtype), {.products = 60});
    EXPECT_TRUE(whole.exact);
    EXPECT_EQ(whole.products, 60);
    EXPECT_LE(whole.low, truth);
    EXPECT_GE(whole.high, truth);
    EXPECT_NEAR(whole.value, truth, tolerance);

    Tensor low_rank = cat({at::tensor({3., -1., 7.}, at::kDouble), at::zeros({297}, at::kDouble)});
    auto deflated = trace(*dense_with(low_rank, 4, dtype), {.products = 60});
    EXPECT_TRUE(deflated.exact);
    EXPECT_EQ(deflated.rank, 3);
    EXPECT_EQ(deflated.products, 15 + 3);
    EXPECT_LE(deflated.low, 9);
    EXPECT_GE(deflated.high, 9);
    EXPECT_NEAR(deflated.value, 9, 100 * tolerance);
  }
  auto zero = trace(*diagonal_operator(at::zeros({500}, at::kDouble)));
  EXPECT_TRUE(zero.exact);
  EXPECT_EQ(zero.value, 0);
}

TEST(Trace, OfADiagonalMatrixHasNoVarianceAndAnIntervalOfRounding) {
  Tensor d = power_law(5000, 0.5).to(at::kFloat);
  double truth = d.to(at::kDouble).sum().item<double>();
  auto result = trace(*diagonal_operator(d), {.products = 40, .method = TraceMethod::hutchinson});
  EXPECT_LE(result.low, truth);
  EXPECT_GE(result.high, truth);
  EXPECT_LT(result.high - result.low, 1e-4 * truth);
}

TEST(Trace, StopsAtTheToleranceAfterThirtyProbes) {
  auto A = dense_with(flat(400), 5);
  auto result = trace(*A, {.products = 300, .tolerance = 0.05});
  EXPECT_EQ(result.stop, TraceStop::tolerance);
  EXPECT_GE(result.probes, 30);
  EXPECT_LT(result.products, 300);
  EXPECT_LE((result.high - result.low) / 2, 0.05 * result.value);
}

TEST(Trace, SaysWhatItDoesNotKnow) {
  auto A = dense_with(flat(200), 6);
  auto stopped = trace(*A, {.progress = [](int64_t products) { return products < 16; }});
  EXPECT_EQ(stopped.stop, TraceStop::interrupted);
  EXPECT_EQ(stopped.products, 16);
  EXPECT_LT(stopped.low, stopped.value);
  auto at_once = trace(*A, {.progress = [](int64_t) { return false; }});
  EXPECT_EQ(at_once.high, std::numeric_limits<double>::infinity());
  for (int64_t n : {20, 300}) {
    auto nan =
        trace(*diagonal_operator(at::full({n}, std::numeric_limits<double>::quiet_NaN(), at::kDouble)));
    EXPECT_EQ(nan.stop, TraceStop::non_finite);
    EXPECT_FALSE(nan.exact);
  }
  EXPECT_THROW(trace(*A, {.products = 0}), Error);
  EXPECT_THROW(trace(*A, {.confidence = 1}), Error);
  EXPECT_THROW(trace(*dense_operator(at::ones({3, 2}, at::kDouble))), Error);
}

TEST(StudentQuantile, EqualsTheTables) {
  EXPECT_NEAR(student_quantile(0.975, 1), 12.7062, 1e-4);
  EXPECT_NEAR(student_quantile(0.975, 10), 2.228139, 1e-6);
  EXPECT_NEAR(student_quantile(0.975, 29), 2.045230, 1e-6);
  EXPECT_NEAR(student_quantile(0.05, 5), -2.015048, 1e-6);
  EXPECT_NEAR(student_quantile(0.975, 1e6), 1.959966, 1e-5);
  EXPECT_NEAR(student_quantile(0.5, 7), 0, 1e-12);
}

}  // namespace
}  // namespace osculant
