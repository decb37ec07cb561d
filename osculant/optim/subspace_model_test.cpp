#include "osculant/optim/subspace_model.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "osculant/optim/testing.h"

namespace osculant {
namespace {

using testing::f64;
using testing::normal;

struct Problem {
  Tensor B, g;
  std::vector<SubspaceColumn> columns;
  SubspaceModel model() const { return {columns, g, B.matmul(SubspaceModel::stack(columns))}; }
  double value(const Tensor& p) const { return (g.dot(p) + p.dot(B.matmul(p)) / 2).item<double>(); }
};

Problem problem(uint64_t seed, int64_t columns, bool indefinite = false) {
  Tensor A = normal({6, 6}, seed);
  Problem p{indefinite ? (A + A.t()) / 2 : A.t().matmul(A), normal({6}, seed + 100), {}};
  for (int64_t i = 0; i < columns; ++i)
    p.columns.push_back({normal({6}, seed + 200 + static_cast<uint64_t>(i)) * std::pow(10.0, i)});
  return p;
}

TEST(SubspaceModel, minimises_the_model_on_the_span) {
  for (uint64_t seed : {1, 2, 3}) {
    Problem p = problem(seed, 3);
    auto step = p.model().minimize(0);
    Tensor P = SubspaceModel::stack(p.columns);
    Tensor y = -at::linalg_solve(P.t().matmul(p.B).matmul(P), P.t().matmul(p.g));
    EXPECT_TRUE(at::allclose(step.displacement, P.matmul(y), 1e-8, 1e-10));
    for (size_t i = 0; i < 3; ++i)
      EXPECT_NEAR(step.coefficients[i], y[static_cast<int64_t>(i)].item<double>(), 1e-8);
    EXPECT_NEAR(step.predicted_change, p.value(step.displacement), 1e-10);
    EXPECT_NEAR(step.slope, p.g.dot(step.displacement).item<double>(), 1e-10);
  }
}

// eta and eps of the corrected inverse, where p_1 = H^-1 g and p_2 = g and neither may be negative: no point
// of a fine grid over both is better.
TEST(SubspaceModel, no_point_of_a_grid_is_better) {
  int constrained = 0;
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    Problem p = problem(seed, 2, true);
    for (auto& column : p.columns) column.non_negative = true;
    double delta = 1 + (at::linalg_eigvalsh(p.B)[0].abs().item<double>());
    auto step = p.model().minimize(delta);
    double norms[2] = {p.columns[0].direction.norm().item<double>(),
                       p.columns[1].direction.norm().item<double>()};
    auto damped = [&](double a, double b) {
      Tensor x = p.columns[0].direction * a + p.columns[1].direction * b;
      double scaled = std::pow(a * norms[0], 2) + std::pow(b * norms[1], 2);
      return p.value(x) + delta * scaled / 2;
    };
    double best = damped(step.coefficients[0], step.coefficients[1]);
    EXPECT_GE(step.coefficients[0], 0);
    EXPECT_GE(step.coefficients[1], 0);
    constrained += step.coefficients[0] == 0 || step.coefficients[1] == 0;
    for (double a = 0; a <= 3; a += 0.05)
      for (double b = 0; b <= 3; b += 0.05) EXPECT_GE(damped(a / norms[0], b / norms[1]), best - 1e-12);
  }
  EXPECT_GT(constrained, 2) << "the constraint never mattered: the test shows nothing";
}

TEST(SubspaceModel, drops_columns_that_others_span) {
  Problem p = problem(5, 2);
  auto two = p.model().minimize(0.1);
  p.columns.push_back({p.columns[0].direction - 2 * p.columns[1].direction});
  p.columns.push_back({at::zeros({6}, f64())});
  auto four = p.model().minimize(0.1);
  EXPECT_TRUE(at::allclose(two.displacement, four.displacement, 1e-12, 1e-14));
  EXPECT_EQ(four.coefficients[2], 0);
  EXPECT_EQ(four.coefficients[3], 0);
  EXPECT_FALSE(SubspaceModel({{at::zeros({6}, f64())}}, p.g, at::zeros({6, 1}, f64()))
                   .minimize(1)
                   .displacement.defined());
}

TEST(SubspaceModel, descends_where_curvature_is_negative) {
  Problem p = problem(7, 3, true);
  p.B = p.B - 10 * at::eye(6, f64());
  auto step = p.model().minimize(0.01);
  EXPECT_LT(step.slope, 0);
  EXPECT_LT(step.predicted_change, 0);
  EXPECT_LT(step.displacement.norm().item<double>(), 1e9);
}

}  // namespace
}  // namespace osculant
