#include "osculant/solve/trust_region_cg.h"

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

double model(const Tensor& A, const Tensor& g, const Tensor& p) {
  return inner_product(g, p) + inner_product(p, A.mv(p)) / 2;
}

TEST(TrustRegionCg, IsConjugateGradientsWhereTheRegionIsWide) {
  auto A = matrix_with(at::linspace(1, 50, 30, kDouble), 1);
  auto g = random_vector(30, 2);
  auto op = dense_operator(A, true);
  auto inside = trust_region_cg(*op, g, {.radius = 1e3, .relative_tolerance = 1e-6});
  auto cg = conjugate_gradient(*op, -g, {.relative_tolerance = 1e-6});
  EXPECT_EQ(inside.stop, TrustRegionStop::residual) << inside.message;
  EXPECT_EQ(inside.iterations, cg.iterations);
  EXPECT_LT(length(inside.p - cg.x), 1e-12 * length(cg.x));
  EXPECT_NEAR(inside.model_change, cg.phi, 1e-12 * std::abs(cg.phi));
  EXPECT_EQ(op->products(), inside.iterations + cg.iterations);
}

TEST(TrustRegionCg, KeepsToTheRegionAndReportsTheModelForEverySpectrum) {
  for (auto& [name, eigenvalues] : spectra()) {
    auto A = matrix_with(eigenvalues, 3);
    auto g = random_vector(A.size(0), 4);
    auto op = dense_operator(A, true);
    for (double radius : {0.1, 1.0, 30.0}) {
      auto result = trust_region_cg(*op, g, {.radius = radius});
      EXPECT_LE(length(result.p), radius * (1 + 1e-10)) << name;
      EXPECT_NEAR(result.norm, length(result.p), 1e-9 * radius) << name;
      EXPECT_NEAR(result.model_change, model(A, g, result.p), 1e-9 * std::abs(result.model_change)) << name;
      // No worse than the Cauchy point, the best along -g.
      double curvature = inner_product(g, A.mv(g)), gg = inner_product(g, g);
      double t = curvature > 0 ? std::min(gg / curvature, radius / std::sqrt(gg)) : radius / std::sqrt(gg);
      EXPECT_LE(result.model_change, model(A, g, -t * g) * (1 - 1e-12)) << name;
      EXPECT_EQ(result.on_boundary(), std::abs(length(result.p) - radius) < 1e-9 * radius) << name;
    }
  }
}

TEST(TrustRegionCg, LeavesOnTheStraightLineBetweenTwoIterates) {
  auto A = matrix_with(at::logspace(-1, 1, 20, 10, kDouble), 5);
  auto g = random_vector(20, 6);
  auto op = dense_operator(A, true);
  auto iterate = [&](int64_t k) {
    return conjugate_gradient(*op, -g, {.max_iterations = k, .relative_tolerance = 0}).x;
  };
  double radius = (length(iterate(3)) + length(iterate(4))) / 2;
  auto result = trust_region_cg(*op, g, {.radius = radius, .relative_tolerance = 0});
  EXPECT_EQ(result.stop, TrustRegionStop::boundary) << result.message;
  EXPECT_EQ(result.iterations, 4);
  auto whole = iterate(4) - iterate(3), part = result.p - iterate(3);
  EXPECT_NEAR(inner_product(whole, part), length(whole) * length(part), 1e-10 * length(whole));
  EXPECT_NEAR(length(result.p), radius, 1e-12 * radius);
}

TEST(TrustRegionCg, FollowsNegativeCurvatureToTheBoundary) {
  auto d = at::linspace(1, 10, 20, kDouble);
  d[3] = -0.5;
  auto A = matrix_with(d, 7);
  auto g = random_vector(20, 8);
  auto result = trust_region_cg(*dense_operator(A, true), g, {.radius = 100});
  ASSERT_EQ(result.stop, TrustRegionStop::negative_curvature) << result.message;
  EXPECT_NEAR(length(result.p), 100, 1e-9);
  EXPECT_NEAR(length(result.direction), 1, 1e-12);
  EXPECT_LT(result.curvature, 0);
  EXPECT_NEAR(inner_product(result.direction, A.mv(result.direction)), result.curvature, 1e-10);
}

TEST(TrustRegionCg, ThePreconditionedNormIsTheTransformedOne) {
  // With M = D^2, on A and g equal to the plain method on D^-1 A D^-1 and D^-1 g in the variable D p.
  auto A = matrix_with(at::linspace(1, 50, 20, kDouble), 9);
  auto g = random_vector(20, 10), D = at::linspace(1, 3, 20, kDouble);
  auto M_inverse = diagonal_operator(D.pow(-2));
  auto scaled = A / D.unsqueeze(0) / D.unsqueeze(1);
  for (double radius : {0.02, 0.1, 10.}) {
    auto with = trust_region_cg(*dense_operator(A, true), g,
                                {.radius = radius,
                                 .relative_tolerance = 0,
                                 .absolute_tolerance = 1e-11,
                                 .preconditioner = M_inverse.get()});
    auto plain = trust_region_cg(*dense_operator(scaled, true), g / D,
                                 {.radius = radius, .relative_tolerance = 0, .absolute_tolerance = 1e-11});
    EXPECT_LT(length(with.p * D - plain.p), 1e-9 * length(plain.p)) << radius;
    EXPECT_EQ(with.on_boundary(), plain.on_boundary()) << radius;
    EXPECT_NEAR(with.norm, length(with.p * D), 1e-10) << radius;
  }
}

TEST(TrustRegionCg, StandsStillAtZeroAndStopsWithWordsOnTrouble) {
  auto op = dense_operator(matrix_with(at::linspace(1, 2, 5, kDouble), 20), true);
  auto still = trust_region_cg(*op, at::zeros({5}, kDouble), {});
  EXPECT_EQ(still.stop, TrustRegionStop::residual);
  EXPECT_EQ(still.iterations, 0);
  auto g = random_vector(5, 21);
  auto stopped = trust_region_cg(
      *op, g, {.radius = 100, .relative_tolerance = 0, .progress = [](auto& p) { return p.iteration < 2; }});
  EXPECT_EQ(stopped.stop, TrustRegionStop::interrupted);
  EXPECT_EQ(stopped.iterations, 2);
  auto broken = diagonal_operator(at::full({5}, std::numeric_limits<double>::quiet_NaN(), kDouble));
  auto non_finite = trust_region_cg(*broken, g, {});
  EXPECT_EQ(non_finite.stop, TrustRegionStop::non_finite);
  EXPECT_EQ(length(non_finite.p), 0);
  EXPECT_THROW(trust_region_cg(*op, g, {.radius = 0}), Error);
  EXPECT_THROW(trust_region_cg(*op, at::ones({4}, kDouble), {}), Error);
  EXPECT_THROW(trust_region_cg(*dense_operator(at::eye(5, kDouble)), g, {}), Error);
}

}  // namespace
}  // namespace osculant
