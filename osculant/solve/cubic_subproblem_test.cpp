#include "osculant/solve/cubic_subproblem.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "osculant/base/error.h"
#include "osculant/linop/operators.h"
#include "osculant/solve/testing.h"

namespace osculant {
namespace {

using at::kDouble;
using testing::inner_product;
using testing::length;
using testing::matrix_with;
using testing::random_vector;
using testing::spectra;

double model(const Tensor& H, const Tensor& g, const Tensor& p, double sigma) {
  return inner_product(g, p) + inner_product(p, H.mv(p)) / 2 + sigma * std::pow(length(p), 3) / 3;
}

// p minimises the cubic model globally just when (H + lambda I) p = -g, lambda = sigma norm(p), and H +
// lambda I is positive semidefinite (Cartis, Gould & Toint 2011, theorem 3.1).
void expect_global_minimiser(const Tensor& H, const Tensor& g, const Tensor& p, double sigma,
                             double tolerance, const std::string& name) {
  double lambda = sigma * length(p);
  EXPECT_LE(length(H.mv(p) + lambda * p + g), tolerance) << name;
  EXPECT_GE(at::linalg_eigvalsh(H).min().item<double>() + lambda, -tolerance) << name;
}

TEST(CubicSubproblem, FindsTheGlobalMinimiserForEverySpectrum) {
  for (auto& [name, eigenvalues] : spectra()) {
    auto H = matrix_with(eigenvalues, 1);
    auto g = random_vector(H.size(0), 2);
    for (double sigma : {0.01, 1.0, 100.0}) {
      auto op = dense_operator(H, true);
      auto result = cubic_subproblem(*op, g, {.sigma = sigma, .relative_tolerance = 1e-9});
      EXPECT_TRUE(result.stop == CubicStop::gradient || result.stop == CubicStop::exhausted ||
                  result.iterations == H.size(0))
          << name << ": " << result.message;
      expect_global_minimiser(H, g, result.p, sigma, 1e-7 * length(g), name);
      double value = model(H, g, result.p, sigma);
      EXPECT_NEAR(result.model_change, value, 1e-9 * std::abs(value)) << name;
      EXPECT_NEAR(result.quadratic_change, value - sigma * std::pow(length(result.p), 3) / 3,
                  1e-9 * std::abs(value))
          << name;
      EXPECT_NEAR(result.multiplier, sigma * length(result.p), 1e-9 * result.multiplier) << name;
      EXPECT_EQ(op->products(), result.iterations) << name;
      EXPECT_GE(result.lowest_ritz, eigenvalues.min().item<double>() - 1e-10) << name;
    }
  }
}

TEST(CubicSubproblem, StopsByTheModelsGradient) {
  auto H = matrix_with(at::logspace(-2, 2, 80, 10, kDouble), 3);
  auto g = random_vector(80, 4);
  auto result = cubic_subproblem(*dense_operator(H, true), g, {.sigma = 1e-3, .relative_tolerance = 0.1});
  ASSERT_EQ(result.stop, CubicStop::gradient) << result.message;
  EXPECT_LT(result.iterations, 60);
  double gradient = length(H.mv(result.p) + result.multiplier * result.p + g);
  EXPECT_NEAR(result.gradient_norm, gradient, 1e-9 * length(g));
  EXPECT_LE(gradient, 0.1 * std::min(1.0, length(result.p)) * length(g));
}

TEST(CubicSubproblem, KeepsItsBasisForTheNextSigma) {
  auto H = matrix_with(at::linspace(-1, 5, 40, kDouble), 6);
  auto g = random_vector(40, 7);
  auto op = dense_operator(H, true);
  CubicSubproblem problem(*op, g, {.relative_tolerance = 1e-6});
  auto loose = problem.solve(0.1);
  int64_t products = op->products();
  auto tight = problem.solve(10);  // shorter steps need fewer dimensions
  EXPECT_EQ(op->products(), products);
  EXPECT_EQ(tight.iterations, 0);
  auto fresh = cubic_subproblem(*op, g, {.sigma = 10, .relative_tolerance = 1e-6});
  EXPECT_LT(length(tight.p - fresh.p), 1e-5 * length(fresh.p));
  EXPECT_LT(length(tight.p), length(loose.p));
}

TEST(CubicSubproblem, DoesNotSeeAnEigenvectorThatTheGradientIsOrthogonalTo) {
  auto d = at::tensor({-3., 1., 2., 5.}, kDouble), g = at::tensor({0., 1., 1., 1.}, kDouble);
  auto result = cubic_subproblem(*diagonal_operator(d), g, {.relative_tolerance = 1e-10});
  EXPECT_EQ(result.stop, CubicStop::exhausted) << result.message;
  EXPECT_EQ(result.iterations, 3);
  EXPECT_EQ(result.p[0].item<double>(), 0);
  EXPECT_GT(result.lowest_ritz, 0);
  auto whole = minimise_cubic(d, g, 1);  // the hard case, in coordinates
  expect_global_minimiser(at::diag(d), g, whole, 1, 1e-9, "hard");
  EXPECT_LT(model(at::diag(d), g, whole, 1), result.model_change - 1);
}

TEST(CubicSubproblem, TheDiagonalProblemIsSolvedToRounding) {
  auto check = [](const Tensor& d, const Tensor& c, double sigma, const std::string& name) {
    expect_global_minimiser(at::diag(d), c, minimise_cubic(d, c, sigma), sigma, 1e-12 * (1 + length(c)),
                            name);
  };
  auto d = at::linspace(-2, 8, 11, kDouble), c = random_vector(11, 5);
  check(d, c, 1, "indefinite");
  check(d, c * 1e-12, 1e-6, "small gradient");
  check(d, at::zeros({11}, kDouble), 1, "no gradient");
  auto nearly = c.clone();
  nearly[0] = 1e-25;
  check(d, nearly, 1, "nearly hard");
  check(d + 3, c, 1e-8, "nearly Newton");
  EXPECT_EQ(length(minimise_cubic(d + 3, at::zeros({11}, kDouble), 1)), 0);
}

TEST(CubicSubproblem, StandsStillAtZeroAndStopsWithWordsOnTrouble) {
  auto op = dense_operator(matrix_with(at::linspace(1, 2, 5, kDouble), 20), true);
  auto still = cubic_subproblem(*op, at::zeros({5}, kDouble));
  EXPECT_EQ(still.stop, CubicStop::gradient);
  EXPECT_EQ(still.iterations, 0);
  EXPECT_EQ(length(still.p), 0);
  auto g = random_vector(5, 21);
  auto stopped = cubic_subproblem(
      *op, g, {.relative_tolerance = 1e-14, .progress = [](auto& p) { return p.iteration < 2; }});
  EXPECT_EQ(stopped.stop, CubicStop::interrupted);
  EXPECT_EQ(stopped.iterations, 2);
  auto short_of = cubic_subproblem(*op, g, {.max_iterations = 2, .relative_tolerance = 1e-14});
  EXPECT_EQ(short_of.stop, CubicStop::iterations);
  EXPECT_LT(short_of.model_change, 0);
  auto broken = diagonal_operator(at::full({5}, std::numeric_limits<double>::quiet_NaN(), kDouble));
  auto non_finite = cubic_subproblem(*broken, g);
  EXPECT_EQ(non_finite.stop, CubicStop::non_finite);
  EXPECT_EQ(length(non_finite.p), 0);
  EXPECT_THROW(cubic_subproblem(*op, g, {.sigma = 0}), Error);
  EXPECT_THROW(cubic_subproblem(*op, at::ones({4}, kDouble)), Error);
  EXPECT_THROW(cubic_subproblem(*dense_operator(at::eye(5, kDouble)), g), Error);
}

}  // namespace
}  // namespace osculant
