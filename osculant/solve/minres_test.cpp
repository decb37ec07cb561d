#include "osculant/solve/minres.h"

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

TEST(Minres, FindsThePseudoInverseSolutionOfEverySymmetricSystem) {
  for (auto& [name, eigenvalues] : spectra()) {
    auto A = matrix_with(eigenvalues, 1);
    auto b = random_vector(A.size(0), 2);  // outside the range of every singular one
    auto op = dense_operator(A, true);
    auto result = minres(*op, b, {.relative_tolerance = 1e-11});
    auto exact = at::linalg_pinv(A, 1e-12).mv(b);
    bool singular = eigenvalues.eq(0).any().item<bool>();
    EXPECT_EQ(result.stop, singular ? MinresStop::least_squares : MinresStop::residual)
        << name << ": " << result.message;
    EXPECT_LE(length(result.x - exact), 1e-8 * length(exact)) << name << ": " << result.message;
    EXPECT_LE(length(result.residual - (b - A.mv(result.x))), 1e-8 * length(b)) << name;
    EXPECT_NEAR(result.x_norm, length(result.x), 1e-12 * length(exact)) << name;
    EXPECT_EQ(op->products(), result.products) << name;
  }
}

TEST(Minres, SolvesSingularSystemsThatAreConsistentWithoutLifting) {
  for (auto& [name, eigenvalues] : spectra()) {
    auto A = matrix_with(eigenvalues, 3);
    auto b = A.mv(random_vector(A.size(0), 4));
    auto result = minres(*dense_operator(A, true), b, {.relative_tolerance = 1e-11});
    auto exact = at::linalg_pinv(A, 1e-12).mv(b);
    EXPECT_EQ(result.stop, MinresStop::residual) << name << ": " << result.message;
    EXPECT_LE(length(result.x - exact), 1e-6 * length(exact)) << name;
    EXPECT_EQ(result.products, result.iterations) << name;
  }
}

TEST(Minres, LiftsToSomeDigitsAndRefinesToMore) {
  auto A = matrix_with(at::cat({at::logspace(-3, 0, 60, 10, kDouble), at::zeros({5}, kDouble)}), 5);
  auto b = random_vector(65, 6);
  auto op = dense_operator(A, true);
  auto exact = at::linalg_pinv(A, 1e-12).mv(b);
  auto error = [&](const MinresResult& result) { return length(result.x - exact) / length(exact); };
  auto plain = minres(*op, b, {.refine = false}), refined = minres(*op, b);
  EXPECT_LT(error(plain), 1e-3) << plain.message;
  EXPECT_EQ(plain.products, plain.iterations + 1);  // the last product found norm(A r) small
  EXPECT_LT(error(refined), 1e-7) << refined.message;
  EXPECT_EQ(refined.message.find("not refined"), std::string::npos) << refined.message;
  EXPECT_LT(refined.products, 3 * plain.products);
  EXPECT_NEAR(plain.Ar_norm, length(A.mv(plain.residual)), 1e-2 * plain.Ar_norm);
  EXPECT_LT(length(A.mv(refined.residual)), 1.1 * refined.Ar_norm + 1e-13);
}

TEST(Minres, FloatVectorsReachTheirOwnAccuracy) {
  auto A = matrix_with(at::cat({at::logspace(-2, 0, 60, 10, kDouble), at::zeros({5}, kDouble)}), 7);
  auto b = random_vector(65, 8);
  auto result = minres(*dense_operator(A.to(at::kFloat), true), b.to(at::kFloat));
  auto exact = at::linalg_pinv(A, 1e-10).mv(b);
  EXPECT_EQ(result.stop, MinresStop::least_squares) << result.message;
  EXPECT_LT(length(result.x.to(kDouble) - exact), 1e-2 * length(exact));
}

TEST(Minres, MinimisesTheResidualOverTheKrylovSpace) {
  auto A = matrix_with(at::cat({at::linspace(-2, -1, 10, kDouble), at::linspace(1, 5, 10, kDouble)}), 9);
  auto b = random_vector(20, 10);
  std::vector<Tensor> krylov{b / length(b)};
  for (int64_t k = 1; k <= 6; ++k) {
    auto K = std::get<0>(at::linalg_qr(at::stack(krylov, 1)));
    auto AK = A.mm(K);
    auto best = b - AK.mv(at::linalg_pinv(AK).mv(b));
    auto result = minres(*dense_operator(A, true), b, {.max_iterations = k, .relative_tolerance = 0});
    EXPECT_EQ(result.stop, MinresStop::iterations);
    EXPECT_NEAR(result.residual_norm, length(best), 1e-10 * length(b)) << k;
    krylov.push_back(A.mv(krylov.back()));
    krylov.back() = krylov.back() / length(krylov.back());
  }
}

TEST(Minres, EstimatesNormAndConditionFromBelow) {
  auto A = matrix_with(at::linspace(0.5, 10, 30, kDouble), 11);
  auto result = minres(*dense_operator(A, true), random_vector(30, 12), {.relative_tolerance = 1e-12});
  EXPECT_LE(result.A_norm, 10 * (1 + 1e-12));
  EXPECT_GE(result.A_norm, 5);
  EXPECT_LE(result.condition, 20 * (1 + 1e-12));
  EXPECT_GE(result.condition, 2);
}

TEST(Minres, ReportsTheDirectionOfLeastCurvature) {
  auto d = at::linspace(1, 10, 20, kDouble);
  d[3] = -0.5;
  auto A = matrix_with(d, 13);
  auto b = random_vector(20, 14);
  auto op = dense_operator(A, true);
  auto first = minres(*op, b, {.stop_at_negative_curvature = true});
  ASSERT_EQ(first.stop, MinresStop::negative_curvature) << first.message;
  EXPECT_EQ(op->products(), first.products);
  auto all = minres(*op, b);
  EXPECT_EQ(all.stop, MinresStop::residual);
  EXPECT_LE(all.curvature, first.curvature);
  for (auto& result : {first, all}) {
    auto p = result.direction;
    EXPECT_NEAR(length(p), 1, 1e-12);
    EXPECT_LT(result.curvature, 0);
    EXPECT_NEAR(inner_product(p, A.mv(p)), result.curvature, 1e-9);
    EXPECT_GT(inner_product(p, b), 0);
  }
  EXPECT_LT(length(first.residual / length(first.residual) - first.direction), 1e-12);
  EXPECT_LT(inner_product(first.x, A.mv(first.x)) / 2 - inner_product(first.x, b), 0);  // a descent so far
  auto definite = minres(*dense_operator(matrix_with(at::linspace(1, 10, 20, kDouble), 13), true), b);
  EXPECT_FALSE(definite.direction.defined());
}

TEST(Minres, SolvesZeroAndStopsWithWordsOnTrouble) {
  auto op = dense_operator(matrix_with(at::linspace(1, 2, 5, kDouble), 20), true);
  auto zero = minres(*op, at::zeros({5}, kDouble));
  EXPECT_EQ(zero.stop, MinresStop::residual);
  EXPECT_EQ(zero.products, 0);
  EXPECT_EQ(length(zero.x), 0);
  auto b = random_vector(5, 21);
  auto stopped = minres(
      *op, b, {.relative_tolerance = 0, .progress = [](const SolveProgress& p) { return p.iteration < 2; }});
  EXPECT_EQ(stopped.stop, MinresStop::interrupted);
  EXPECT_EQ(stopped.iterations, 2);
  auto broken = diagonal_operator(at::full({5}, std::numeric_limits<double>::quiet_NaN(), kDouble));
  auto non_finite = minres(*broken, b);
  EXPECT_EQ(non_finite.stop, MinresStop::non_finite);
  EXPECT_EQ(length(non_finite.x), 0);
}

TEST(Minres, RefusesWhatCannotBeMeant) {
  auto op = dense_operator(at::eye(5, kDouble), true);
  auto b = at::ones({5}, kDouble);
  EXPECT_THROW(minres(*op, b, {.relative_tolerance = -1}), Error);
  EXPECT_THROW(minres(*op, b, {.least_squares_tolerance = 2}), Error);
  EXPECT_THROW(minres(*op, at::ones({4}, kDouble)), Error);
  EXPECT_THROW(minres(*op, at::ones({5}, at::kFloat)), Error);
  EXPECT_THROW(minres(*dense_operator(at::eye(5, kDouble)), b), Error);
}

}  // namespace
}  // namespace osculant
