#include "osculant/spectrum/minimum_eigenvalue.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "osculant/base/error.h"
#include "osculant/spectrum/testing.h"

namespace osculant {
namespace {

using testing::rotated_diagonal;
using Verdict = MinimumEigenvalueVerdict;

Tensor spectrum(int64_t n, double lowest) {
  auto e = at::logspace(-4, 1, n, 10, at::kDouble);
  e[n / 2] = lowest;
  return e;
}

TEST(MinimumEigenvalue, FindsADirectionOfNegativeCurvature) {
  auto H = rotated_diagonal(spectrum(400, -0.02), 1);
  auto result = minimum_eigenvalue_oracle(*H, {.tolerance = 0.02});
  ASSERT_EQ(result.verdict, Verdict::negative) << result.message;
  auto v = result.vector;
  double curvature = v.dot(H->apply(v)).item<double>();
  EXPECT_NEAR(v.norm().item<double>(), 1, 1e-12);
  EXPECT_NEAR(result.value, curvature, 1e-9);
  EXPECT_LE(curvature, -0.01);
  EXPECT_EQ(result.products + 1, H->products());
}

TEST(MinimumEigenvalue, CertifiesWithinTheStepsOfThePaper) {
  for (double tolerance : {1., 0.1, 0.01}) {
    auto H = rotated_diagonal(spectrum(400, 1e-4), 2);
    auto result = minimum_eigenvalue_oracle(*H, {.tolerance = tolerance, .failure_probability = 0.01});
    EXPECT_EQ(result.verdict, Verdict::certified) << result.message;
    EXPECT_LE(result.failure_probability, 0.01);
    double steps = 1 + std::ceil(std::log(2.75 * 400 / 1e-4) * std::sqrt(result.norm_bound / tolerance) / 2);
    EXPECT_LE(result.products, steps) << tolerance;
    EXPECT_EQ(result.products, H->products());
    EXPECT_GE(result.norm_bound, 10 * (1 - 1e-9));
    EXPECT_LE(result.norm_bound, 20);
    EXPECT_GE(result.value, 1e-4 - 1e-9);
  }
}

TEST(MinimumEigenvalue, IsSeldomWrong) {
  // The bound is far from sharp: of 200 random starts none may miss an eigenvalue at -1.05 eps at delta =
  // 0.01, and none may call a certified matrix negative.
  int wrong = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    auto H = rotated_diagonal(spectrum(60, -0.105), seed);
    wrong += minimum_eigenvalue_oracle(*H, {.tolerance = 0.1, .seed = seed}).verdict != Verdict::negative;
  }
  EXPECT_LE(wrong, 2);
}

// Spectra that fall below rounding, as those of trained networks do: the recurrence comes to the end of what
// it can tell apart long before the products are spent.
TEST(MinimumEigenvalue, MakesUpNoCurvatureWhereTheSpectrumDecays) {
  for (double decades : {8., 12., 16., 24.})
    for (uint64_t seed = 0; seed < 10; ++seed) {
      SCOPED_TRACE(fmt::format("{} decades, seed {}", decades, seed));
      auto e = at::logspace(1, 1 - decades, 330, 10, at::kDouble);
      e[200] = -1e-5;
      auto H = rotated_diagonal(e, seed);
      auto result = minimum_eigenvalue_oracle(*H, {.tolerance = 1e-3, .seed = seed});
      EXPECT_EQ(result.verdict, Verdict::certified) << result.message;
      EXPECT_GE(result.value, -1e-5 - 1e-12);
      EXPECT_NEAR(result.vector.dot(H->apply(result.vector)).item<double>(), result.value, 1e-12);
      EXPECT_NEAR(result.vector.norm().item<double>(), 1, 1e-12);
    }
}

TEST(MinimumEigenvalue, SaysUnknownWhereItIs) {
  auto H = rotated_diagonal(spectrum(400, 1e-4), 3);
  auto short_of = minimum_eigenvalue_oracle(*H, {.tolerance = 1e-3, .max_products = 10});
  EXPECT_EQ(short_of.verdict, Verdict::unknown) << short_of.message;
  EXPECT_EQ(short_of.products, 10);
  EXPECT_GT(short_of.failure_probability, 0.01);
  auto single = rotated_diagonal(spectrum(400, 1e-4), 3, at::kFloat);
  auto precise = minimum_eigenvalue_oracle(*single, {.tolerance = 1e-6});
  EXPECT_EQ(precise.verdict, Verdict::unknown) << precise.message;
  auto interrupted = minimum_eigenvalue_oracle(*H, {.progress = [](int64_t q) { return q < 5; }});
  EXPECT_EQ(interrupted.verdict, Verdict::unknown);
  EXPECT_EQ(interrupted.products, 5);
}

TEST(MinimumEigenvalue, SmallMatricesAreCertain) {
  auto definite = minimum_eigenvalue_oracle(*diagonal_operator(at::tensor({1., 2., 3.}, at::kDouble)),
                                            {.tolerance = 1e-9});
  EXPECT_EQ(definite.verdict, Verdict::certified) << definite.message;
  EXPECT_EQ(definite.failure_probability, 0);
  EXPECT_NEAR(definite.value, 1, 1e-12);
  auto one = minimum_eigenvalue_oracle(*diagonal_operator(at::tensor({-2.}, at::kDouble)));
  EXPECT_EQ(one.verdict, Verdict::negative);
  EXPECT_EQ(one.value, -2);
  auto zero = minimum_eigenvalue_oracle(*diagonal_operator(at::zeros({20}, at::kDouble)));
  EXPECT_EQ(zero.verdict, Verdict::certified) << zero.message;
  EXPECT_EQ(zero.value, 0);
}

TEST(MinimumEigenvalue, StopsOnTroubleAndRefusesWhatCannotBeMeant) {
  auto broken = diagonal_operator(at::full({5}, std::numeric_limits<double>::quiet_NaN(), at::kDouble));
  auto result = minimum_eigenvalue_oracle(*broken);
  EXPECT_EQ(result.verdict, Verdict::unknown);
  EXPECT_FALSE(result.vector.defined());
  EXPECT_EQ(result.failure_probability, 1);
  auto op = diagonal_operator(at::ones({5}, at::kDouble));
  EXPECT_THROW(minimum_eigenvalue_oracle(*op, {.tolerance = 0}), Error);
  EXPECT_THROW(minimum_eigenvalue_oracle(*op, {.failure_probability = 0}), Error);
  EXPECT_THROW(minimum_eigenvalue_oracle(*dense_operator(at::eye(5, at::kDouble))), Error);
}

}  // namespace
}  // namespace osculant
