#include "osculant/solve/capped_cg.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "osculant/base/error.h"
#include "osculant/linop/operators.h"
#include "osculant/solve/conjugate_gradient.h"
#include "osculant/solve/testing.h"

namespace osculant {
namespace {

using at::kDouble;
using testing::inner_product;
using testing::length;
using testing::matrix_with;
using testing::random_vector;
using testing::spectra;

TEST(CappedCg, IsConjugateGradientsOnTheDampedSystemWhereCurvatureIsPositive) {
  auto H = matrix_with(at::linspace(0, 10, 30, kDouble), 1);
  auto g = random_vector(30, 2);
  auto op = dense_operator(H, true);
  auto result = capped_cg(*op, g, {.epsilon = 0.1, .tolerance = 0.01});
  ASSERT_EQ(result.stop, CappedCgStop::solution) << result.message;
  EXPECT_EQ(op->products(), result.products);
  EXPECT_EQ(result.products, result.iterations);
  auto cg =
      conjugate_gradient(*shift(op, 0.2), -g, {.max_iterations = result.iterations, .relative_tolerance = 0});
  EXPECT_LT(length(result.d - cg.x), 1e-10 * length(cg.x));
  EXPECT_NEAR(result.slope, inner_product(g, result.d), 1e-10);
  double kappa = (result.norm_bound + 0.2) / 0.1;
  EXPECT_LE(length(H.mv(result.d) + 0.2 * result.d + g), 1.001 * 0.01 / (3 * kappa) * length(g));
  EXPECT_LE(result.norm_bound, 10 * (1 + 1e-12));
  EXPECT_GE(result.norm_bound, 5);
}

TEST(CappedCg, ReturnsASolutionOrNegativeCurvatureForEverySpectrum) {
  for (auto& [name, eigenvalues] : spectra()) {
    auto H = matrix_with(eigenvalues, 3);
    auto g = random_vector(H.size(0), 4);
    double epsilon = 0.05, lowest = eigenvalues.min().item<double>();
    auto result = capped_cg(*dense_operator(H, true), g, {.epsilon = epsilon, .max_iterations = 200});
    auto d = result.d;
    double curvature = inner_product(d, H.mv(d)) / inner_product(d, d);
    EXPECT_NEAR(result.curvature, curvature, 1e-9 * (1 + std::abs(curvature))) << name;
    EXPECT_EQ(result.stop, lowest < -epsilon ? CappedCgStop::negative_curvature : CappedCgStop::solution)
        << name << ": " << result.message;
    if (result.stop == CappedCgStop::negative_curvature) {
      EXPECT_LT(curvature, -epsilon) << name;
    } else {
      EXPECT_LT(result.slope, 0) << name;
      EXPECT_GE(curvature, -epsilon) << name;
    }
  }
}

TEST(CappedCg, FindsCurvatureAlongTheIterateWhereTheDirectionsHaveNone) {
  // p_0'Ap_0 and p_1'Ap_1 are > eps; the iterate y_2 turns to the first coordinate.
  auto e = at::tensor({-0.24, 0.678, 0.838}, kDouble), g = at::tensor({1.672, -0.592, 0.193}, kDouble);
  auto result = capped_cg(*diagonal_operator(e), g, {.epsilon = 0.2});
  ASSERT_EQ(result.stop, CappedCgStop::negative_curvature) << result.message;
  EXPECT_NE(result.message.find("y'Hy"), std::string::npos) << result.message;
  EXPECT_EQ(result.products, 2);
  EXPECT_LT(inner_product(result.d, e * result.d), -0.2 * inner_product(result.d, result.d));
}

TEST(CappedCg, TheGivenNormBoundTightensTheTolerance) {
  auto H = matrix_with(at::linspace(0.5, 1, 30, kDouble), 5);
  auto g = random_vector(30, 6);
  auto op = dense_operator(H, true);
  auto loose = capped_cg(*op, g, {.epsilon = 0.1}),
       tight = capped_cg(*op, g, {.epsilon = 0.1, .norm_bound = 1e6});
  EXPECT_GT(tight.iterations, loose.iterations);
  EXPECT_EQ(tight.norm_bound, 1e6);
}

TEST(CappedCg, StandsStillAtZeroAndStopsWithWordsOnTrouble) {
  auto op = dense_operator(matrix_with(at::linspace(1, 2, 5, kDouble), 20), true);
  auto still = capped_cg(*op, at::zeros({5}, kDouble));
  EXPECT_EQ(still.stop, CappedCgStop::solution);
  EXPECT_EQ(still.products, 0);
  EXPECT_EQ(length(still.d), 0);
  auto g = random_vector(5, 21);
  auto stopped = capped_cg(*op, g, {.tolerance = 1e-9, .progress = [](auto& p) { return p.iteration < 2; }});
  EXPECT_EQ(stopped.stop, CappedCgStop::interrupted);
  EXPECT_EQ(stopped.iterations, 2);
  auto short_of = capped_cg(*op, g, {.tolerance = 1e-9, .max_iterations = 2});
  EXPECT_EQ(short_of.stop, CappedCgStop::iterations);
  EXPECT_LT(short_of.slope, 0);
  auto broken = diagonal_operator(at::full({5}, std::numeric_limits<double>::quiet_NaN(), kDouble));
  auto non_finite = capped_cg(*broken, g);
  EXPECT_EQ(non_finite.stop, CappedCgStop::non_finite);
  EXPECT_EQ(length(non_finite.d), 0);
  EXPECT_THROW(capped_cg(*op, g, {.epsilon = 0}), Error);
  EXPECT_THROW(capped_cg(*op, g, {.tolerance = 1}), Error);
  EXPECT_THROW(capped_cg(*op, at::ones({4}, kDouble)), Error);
  EXPECT_THROW(capped_cg(*dense_operator(at::eye(5, kDouble)), g), Error);
}

}  // namespace
}  // namespace osculant
