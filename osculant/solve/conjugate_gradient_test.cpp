#include "osculant/solve/conjugate_gradient.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <Eigen/Dense>
#include <cmath>
#include <limits>

#include "osculant/base/error.h"
#include "osculant/linop/operators.h"
#include "osculant/solve/testing.h"

namespace osculant {
namespace {

using at::kDouble;
using testing::length;
using testing::matrix_with;
using testing::random_vector;

double phi_of(const Tensor& A, const Tensor& b, const Tensor& x) {
  return (0.5 * x.dot(A.mv(x)) - b.dot(x)).item<double>();
}

TEST(ConjugateGradient, SolvesToTheToleranceAndReportsItsResidual) {
  auto A = matrix_with(at::logspace(-2, 2, 60, 10, kDouble), 1);
  auto b = random_vector(60, 2);
  auto result = conjugate_gradient(*dense_operator(A, true), b, {.relative_tolerance = 1e-10});
  EXPECT_EQ(result.stop, CgStop::residual) << result.message;
  EXPECT_LE(length(b - A.mv(result.x)), 2e-10 * length(b));
  EXPECT_NEAR(result.phi, phi_of(A, b, result.x), 1e-9 * std::abs(result.phi));
  EXPECT_NEAR(result.phi, -0.5 * b.dot(at::linalg_solve(A, b)).item<double>(), 1e-9 * std::abs(result.phi));
}

TEST(ConjugateGradient, MakesTheIteratesOfTheTextbook) {
  using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  auto A = matrix_with(at::linspace(1, 100, 30, kDouble), 30).contiguous();
  auto b = random_vector(30, 31);
  Eigen::Map<Matrix> matrix(A.data_ptr<double>(), 30, 30);
  Eigen::VectorXd x = Eigen::VectorXd::Zero(30), r = Eigen::Map<Eigen::VectorXd>(b.data_ptr<double>(), 30);
  Eigen::VectorXd p = r;
  for (int64_t k = 1; k <= 20; ++k) {  // Hestenes & Stiefel (1952)
    double rr = r.squaredNorm(), alpha = rr / p.dot(matrix * p);
    x += alpha * p;
    r -= alpha * (matrix * p);
    p = r + r.squaredNorm() / rr * p;
    auto result = conjugate_gradient(*dense_operator(A, true), b, {.max_iterations = k});
    EXPECT_LT((Eigen::Map<Eigen::VectorXd>(result.x.data_ptr<double>(), 30) - x).norm(), 1e-12 * x.norm())
        << k;
  }
}

TEST(ConjugateGradient, NeedsAsManyIterationsAsThereAreDistinctEigenvalues) {
  auto d = at::tensor({1., 1., 1., 4., 4., 9., 9., 9., 9.}, kDouble);
  auto op = dense_operator(matrix_with(d, 3), true);
  auto result = conjugate_gradient(*op, random_vector(9, 4), {.relative_tolerance = 1e-10});
  EXPECT_EQ(result.iterations, 3);
  EXPECT_EQ(op->products(), 3);
}

TEST(ConjugateGradient, ThePreconditionerWithTheInverseNeedsOneIteration) {
  auto A = matrix_with(at::linspace(1, 1000, 30, kDouble), 5);
  auto b = random_vector(30, 6);
  auto inverse = dense_operator(at::linalg_inv(A), true);
  auto result = conjugate_gradient(*dense_operator(A, true), b,
                                   {.relative_tolerance = 1e-9, .preconditioner = inverse.get()});
  EXPECT_EQ(result.iterations, 1);
  EXPECT_LE(length(b - A.mv(result.x)), 1e-8 * length(b));
}

TEST(ConjugateGradient, ThePreconditionedIterationIsTheTransformedOne) {
  // With M = L L', PCG on A equals CG on L^-1 A L^-T in the variable L'x, iterate by iterate.
  auto A = matrix_with(at::linspace(1, 50, 20, kDouble), 7);
  auto b = random_vector(20, 8);
  auto d = at::linspace(1, 3, 20, kDouble);
  auto M_inverse = diagonal_operator(d.pow(-2));
  auto pcg =
      conjugate_gradient(*dense_operator(A, true), b,
                         {.max_iterations = 6, .relative_tolerance = 0, .preconditioner = M_inverse.get()});
  auto scaled = A / d.unsqueeze(0) / d.unsqueeze(1);
  auto cg = conjugate_gradient(*dense_operator(scaled, true), b / d,
                               {.max_iterations = 6, .relative_tolerance = 0});
  EXPECT_LT(length(pcg.x - cg.x / d), 1e-10 * length(pcg.x));
  EXPECT_NEAR(pcg.phi, cg.phi, 1e-10 * std::abs(cg.phi));
}

TEST(ConjugateGradient, StartsFromAGuessAtThePriceOfOneProduct) {
  auto A = matrix_with(at::linspace(1, 20, 25, kDouble), 9);
  auto b = random_vector(25, 10), guess = random_vector(25, 11);
  auto op = dense_operator(A, true);
  auto result =
      conjugate_gradient(*op, b, {.max_iterations = 4, .relative_tolerance = 0, .initial_guess = guess});
  EXPECT_EQ(op->products(), 5);
  EXPECT_NEAR(result.phi, phi_of(A, b, result.x), 1e-10 * std::abs(result.phi));
  EXPECT_LT(result.phi, phi_of(A, b, guess));
  auto exact = conjugate_gradient(*op, b, {.initial_guess = at::linalg_solve(A, b)});
  EXPECT_EQ(exact.iterations, 0);
}

TEST(ConjugateGradient, StopsAtMartensTestAndNotBefore) {
  auto A = matrix_with(at::logspace(-4, 0, 200, 10, kDouble), 12);
  auto b = random_vector(200, 13);
  auto op = dense_operator(A, true);
  auto result = conjugate_gradient(*op, b, CgOptions::martens());
  ASSERT_EQ(result.stop, CgStop::progress) << result.message;
  auto phi_after = [&](int64_t iterations) {
    auto r = conjugate_gradient(*op, b, {.max_iterations = iterations, .relative_tolerance = 0});
    return phi_of(A, b, r.x);
  };
  auto window = [](int64_t i) { return std::max<int64_t>(10, (i + 9) / 10); };
  auto gain = [&](int64_t i) { return (phi_after(i) - phi_after(i - window(i))) / phi_after(i); };
  int64_t i = result.iterations;
  EXPECT_GT(i, 10);
  EXPECT_LT(gain(i), window(i) * 5e-4);
  EXPECT_GE(gain(i - 1), window(i - 1) * 5e-4);
}

TEST(ConjugateGradient, KeepsIteratesInGeometricSteps) {
  auto A = matrix_with(at::logspace(-4, 0, 100, 10, kDouble), 14);
  auto b = random_vector(100, 15);
  auto result = conjugate_gradient(*dense_operator(A, true), b,
                                   {.max_iterations = 30, .relative_tolerance = 0, .keep_iterates = true});
  std::vector<int64_t> at;
  for (auto& kept : result.iterates) {
    at.push_back(kept.iteration);
    EXPECT_NEAR(kept.phi, phi_of(A, b, kept.x), 1e-9 * std::abs(kept.phi));
  }
  EXPECT_EQ(at, (std::vector<int64_t>{5, 7, 9, 11, 15, 19, 25, 30}));  // ceil(5 * 1.3^j), and the last
  EXPECT_TRUE(result.iterates.back().x.equal(result.x));
}

TEST(ConjugateGradient, ReturnsTheDirectionOfNegativeCurvature) {
  auto d = at::linspace(1, 10, 20, kDouble);
  d[3] = -0.5;
  auto A = matrix_with(d, 16);
  auto b = random_vector(20, 17);
  auto result = conjugate_gradient(*dense_operator(A, true), b, {.relative_tolerance = 0});
  ASSERT_EQ(result.stop, CgStop::negative_curvature) << result.message;
  auto p = result.direction;
  EXPECT_NEAR(length(p), 1, 1e-12);
  EXPECT_LT(result.curvature, 0);
  EXPECT_NEAR(p.dot(A.mv(p)).item<double>(), result.curvature, 1e-10);
  EXPECT_GT(p.dot(b - A.mv(result.x)).item<double>(), 0);
  EXPECT_LT(phi_of(A, b, result.x + p), result.phi);
}

TEST(ConjugateGradient, FloatVectorsReachTheirOwnAccuracy) {
  auto A = matrix_with(at::linspace(1, 100, 300, kDouble), 18);
  auto b = random_vector(300, 19);
  auto result = conjugate_gradient(*dense_operator(A.to(at::kFloat), true), b.to(at::kFloat),
                                   {.relative_tolerance = 1e-5});
  EXPECT_EQ(result.stop, CgStop::residual);
  EXPECT_LT(length(b - A.mv(result.x.to(kDouble))), 5e-5 * length(b));
}

TEST(ConjugateGradient, SolvesZeroAndStopsWithWordsOnTrouble) {
  auto op = dense_operator(matrix_with(at::linspace(1, 2, 5, kDouble), 20), true);
  auto zero = conjugate_gradient(*op, at::zeros({5}, kDouble));
  EXPECT_EQ(zero.stop, CgStop::residual);
  EXPECT_EQ(zero.iterations, 0);
  auto b = random_vector(5, 21);
  auto stopped = conjugate_gradient(
      *op, b, {.relative_tolerance = 0, .progress = [](const CgProgress& p) { return p.iteration < 2; }});
  EXPECT_EQ(stopped.stop, CgStop::interrupted);
  EXPECT_EQ(stopped.iterations, 2);
  auto broken = diagonal_operator(at::full({5}, std::numeric_limits<double>::quiet_NaN(), kDouble));
  auto non_finite = conjugate_gradient(*broken, b);
  EXPECT_EQ(non_finite.stop, CgStop::non_finite);
  EXPECT_EQ(length(non_finite.x), 0);
}

TEST(ConjugateGradient, RefusesWhatCannotBeMeant) {
  auto op = dense_operator(at::eye(5, kDouble), true);
  auto b = at::ones({5}, kDouble);
  EXPECT_THROW(conjugate_gradient(*op, b, {.relative_tolerance = -1}), Error);
  EXPECT_THROW(conjugate_gradient(*op, at::ones({4}, kDouble)), Error);
  EXPECT_THROW(conjugate_gradient(*op, at::ones({5}, at::kFloat)), Error);
  EXPECT_THROW(conjugate_gradient(*dense_operator(at::eye(5, kDouble)), b), Error);
}

}  // namespace
}  // namespace osculant
