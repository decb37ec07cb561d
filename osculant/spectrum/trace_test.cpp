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
using testing::dense_with;
using testing::power_law;

Tensor flat(int64_t n) {
  return 1 + 0.1 * at::linspace(0, 1, n, at::kDouble);
}
class TraceError : public ::testing::TestWithParam<testing::Spectrum> {};

// No more than 15 % above the best of the three, in the root of the mean square over seeds.
TEST_P(TraceError, OfTheAutomaticChoiceIsNearTheSmallest) {
  const Tensor& l = GetParam().eigenvalues;
  auto A = dense_with(l, 2);
  double truth = l.sum().item<double>();
  auto error = [&](TraceMethod method) {
    double squares = 0;
    for (uint64_t seed = 0; seed < 200; ++seed)
      squares += std::pow(trace(*A, {.products = 90, .method = method, .seed = seed}).value - truth, 2);
    return std::sqrt(squares / 200);
  };
  double best =
      std::min({error(TraceMethod::hutchinson), error(TraceMethod::deflated), error(TraceMethod::xtrace)});
  EXPECT_LE(error(TraceMethod::automatic), 1.15 * best);
}

INSTANTIATE_TEST_SUITE_P(Shapes, TraceError, ::testing::ValuesIn(testing::estimated_shapes(120)),
                         [](const auto& info) { return std::to_string(info.index); });

TEST(Trace, ThrowsNoProductAway) {
  for (auto& [name, l] : testing::estimated_shapes(120)) {
    auto A = dense_with(l, 3);
    auto result = trace(*A, {.products = 90});
    EXPECT_EQ(A->products(), 90) << name;
    EXPECT_EQ(result.products, 90) << name;
    EXPECT_EQ(result.probes, 90 - 2 * result.rank) << name;
    EXPECT_EQ(result.method == TraceMethod::xtrace, result.rank > 0) << name;
    EXPECT_GE(result.probes, 10);
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
    EXPECT_EQ(deflated.products, 8 + 1 + 3);
    EXPECT_LE(deflated.low, 9);
    EXPECT_GE(deflated.high, 9);
    EXPECT_NEAR(deflated.value, 9, 100 * tolerance);
  }
  auto zero = trace(*diagonal_operator(at::zeros({500}, at::kDouble)));
  EXPECT_TRUE(zero.exact);
  EXPECT_EQ(zero.value, 0);
}

// Eight signs of five entries are alike in two of them once in twelve times, and A never sees the difference.
TEST(Trace, IsNotCalledExactWhereSignsAreAlike) {
  Tensor block = RandomStream(7, "block").normal({5, 5}, at::kDouble), M = at::zeros({300, 300}, at::kDouble);
  M.narrow(0, 0, 5).narrow(1, 0, 5).copy_(block + block.t());
  auto A = dense_operator(M, true);
  double truth = M.trace().item<double>();
  int exact = 0;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    auto result = trace(*A, {.products = 60, .seed = seed});
    if (!result.exact) continue;
    EXPECT_NEAR(result.value, truth, 1e-12) << seed;
    ++exact;
  }
  EXPECT_GE(exact, 95);
}

TEST(Trace, OfADiagonalMatrixHasNoVarianceAndAnIntervalOfRounding) {
  Tensor d = power_law(5000, 0.5).to(at::kFloat);
  double truth = d.to(at::kDouble).sum().item<double>();
  auto result = trace(*diagonal_operator(d), {.products = 40, .method = TraceMethod::hutchinson});
  EXPECT_LE(result.low, truth);
  EXPECT_GE(result.high, truth);
  EXPECT_LT(result.high - result.low, 1e-4 * truth);
}

TEST(Trace, TakesASmallerSketchWhereMemoryEndsIt) {
  auto A = dense_with(power_law(200, 2), 8);
  int64_t column = 3 * 200 * 8;
  TraceOptions options{.products = 90, .sketch_bytes = 5 * column};
  EXPECT_EQ(options.vectors(A->domain()), 3 * 5 + 16);
  EXPECT_EQ(trace(*A, options).rank, 5);
  options.sketch_bytes = 0;
  EXPECT_EQ(trace(*A, options).method, TraceMethod::hutchinson);
}

TEST(Trace, StopsAtTheTolerance) {
  auto A = dense_with(flat(400), 5);
  auto plain = trace(*A, {.products = 300, .tolerance = 0.05});
  EXPECT_EQ(plain.stop, TraceStop::tolerance);
  EXPECT_EQ(plain.method, TraceMethod::hutchinson);
  EXPECT_EQ(plain.products, 32);
  EXPECT_LE((plain.high - plain.low) / 2, 0.05 * plain.value);
  // A small sketch is enough, and twenty probes.
  auto steep = trace(*dense_with(power_law(400, 2), 5), {.products = 300, .tolerance = 0.05});
  EXPECT_EQ(steep.stop, TraceStop::tolerance);
  EXPECT_EQ(steep.method, TraceMethod::xtrace);
  EXPECT_GE(steep.probes, 20);
  EXPECT_LE(steep.products, 64);
  EXPECT_LE((steep.high - steep.low) / 2, 0.05 * steep.value);
}

TEST(Trace, SaysWhatItDoesNotKnow) {
  auto A = dense_with(flat(200), 6);
  auto stopped = trace(*A, {.progress = [](int64_t products) { return products < 16; }});
  EXPECT_EQ(stopped.stop, TraceStop::interrupted);
  EXPECT_EQ(stopped.products, 16);
  EXPECT_LT(stopped.low, stopped.value);
  // Stopped while deflating, the columns of the sketch are still plain samples.
  auto deflating =
      trace(*dense_with(power_law(200, 2), 6), {.progress = [](int64_t products) { return products < 60; }});
  EXPECT_EQ(deflating.method, TraceMethod::hutchinson);
  EXPECT_EQ(deflating.probes, 45);
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
