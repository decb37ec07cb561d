#include "osculant/optim/directions/hessian_free.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "osculant/curvature/curvature.h"
#include "osculant/optim/methods.h"
#include "osculant/optim/stepper.h"
#include "osculant/optim/testing.h"

namespace osculant {
namespace {

using testing::f64;
using testing::propose;
using testing::relative_difference;

TEST(HessianFree, tends_to_the_dense_solution) {
  auto objective = testing::small_mlp();
  Tensor G = to_dense(GaussNewton(objective)), g = objective.value_and_gradient().second;
  for (double lambda : {1e-3, 1.0}) {
    auto direction = hessian_free_direction({.cg_iterations = 400, .cg_tolerance = 1e-14});
    auto step = propose(*direction, objective, lambda);
    Tensor expected = at::linalg_solve(G + lambda * torch::eye(g.numel(), f64()), -g);
    EXPECT_LT(relative_difference(step.displacement, expected), 1e-8) << lambda;
    // The model's change without lambda: g'p + p'Gp / 2, for the last iterate and for those kept on the way.
    auto model = [&](const Tensor& p) { return (g.dot(p) + p.dot(G.matmul(p)) / 2).item<double>(); };
    EXPECT_NEAR(step.predicted_change, model(step.displacement), 1e-9 * std::abs(step.predicted_change));
    EXPECT_GE(step.earlier.size(), 2u);
    for (const auto& iterate : step.earlier)
      EXPECT_NEAR(iterate.predicted_change, model(iterate.displacement),
                  1e-9 * std::abs(iterate.predicted_change));
  }
}

// The k-th iterate is the minimum of the damped model on span{g, Bg, ..., B^(k-1) g}, B = G + lambda I.
TEST(HessianFree, passes_through_the_iterates_of_conjugate_gradients) {
  auto objective = testing::small_mlp();
  Tensor g = objective.value_and_gradient().second;
  double lambda = 0.05;
  Tensor B = to_dense(GaussNewton(objective)) + lambda * torch::eye(g.numel(), f64());
  for (int64_t k : {1, 2, 3, 5, 8}) {
    Tensor basis = (g / g.norm()).unsqueeze(1);
    for (int64_t i = 1; i < k; ++i) {
      Tensor next = B.mv(basis.select(1, i - 1));
      for (int pass = 0; pass < 2; ++pass) next = next - basis.mv(basis.t().mv(next));
      basis = at::cat({basis, (next / next.norm()).unsqueeze(1)}, 1);
    }
    Tensor expected = -basis.mv(at::linalg_solve(basis.t().mm(B).mm(basis), basis.t().mv(g)));
    auto direction = hessian_free_direction({.cg_iterations = k, .cg_tolerance = 0});
    auto step = propose(*direction, objective, lambda);
    EXPECT_EQ(step.solver_iterations, k);
    EXPECT_LT(relative_difference(step.displacement, expected), 1e-7) << k;
  }
}

TEST(HessianFree, starts_at_a_share_of_the_last_solution) {
  auto objective = testing::small_mlp();
  auto direction = hessian_free_direction({.cg_iterations = 3});
  auto first = propose(*direction, objective, 1e-3), second = propose(*direction, objective, 1e-3);
  EXPECT_LT(second.predicted_change, first.predicted_change);  // further down the same model
  auto fresh = hessian_free_direction({.cg_iterations = 3, .momentum = 0});
  propose(*fresh, objective, 1e-3);
  EXPECT_TRUE(propose(*fresh, objective, 1e-3).displacement.equal(first.displacement));
}

TEST(HessianFree, lowers_damping_where_the_model_is_exact_and_raises_it_where_it_fails) {
  auto exact = testing::least_squares(torch::ones({4}, f64()));
  Stepper stepper(exact, methods::hessian_free({.damping = {.initial = 1}}));
  auto first = stepper.step(), second = stepper.step();
  EXPECT_NEAR(first.rho, 1, 1e-9);
  EXPECT_EQ(first.damping, 1);
  EXPECT_DOUBLE_EQ(second.damping, 1 / 1.5);

  // l(z) = z^2 (3 - cos(20 z)): nearly nothing of a long step's promise is kept.
  Tensor p = torch::tensor({1.0}, f64()).requires_grad_();
  Model model({{"p", p}}, [p](const Model::Inputs&) -> Model::Outputs { return {p.unsqueeze(0)}; });
  auto wavy = FunctionLoss(
      [](const auto& z, const Batch&) {
        return (z[0].square() * (3 - (20 * z[0]).cos()) + (z[0] * 40).cos()).squeeze(1);
      },
      true);
  Objective hard(model, wavy, Dataset(torch::zeros({1, 1}, f64()), torch::zeros({1, 1}, f64())).full());
  Stepper other(hard, methods::hessian_free({.damping = {.initial = 1e-4}}));
  double largest = 0;
  for (int i = 0; i < 20; ++i) largest = std::max(largest, other.step().damping);
  EXPECT_GE(largest, 1.5e-4);
}

TEST(HessianFree, never_goes_up_on_the_full_batch) {
  auto objective = testing::small_mlp();
  Stepper stepper(objective, methods::hessian_free({.damping = {.initial = 1e-3}}));
  double loss = objective.value();
  for (int i = 0; i < 30; ++i) {
    auto record = stepper.step();
    double now = objective.value();
    if (record.accepted)
      EXPECT_LT(now, loss);
    else
      EXPECT_EQ(now, loss);
    EXPECT_GT(record.solver_iterations, 0);
    loss = now;
  }
}

// A loss that is not convex in the outputs: G is indefinite, CG meets negative curvature, and training goes
// on.
TEST(HessianFree, goes_down_where_gauss_newton_is_indefinite) {
  auto welsch = FunctionLoss([](const OutputLoss::Outputs& z, const Batch& batch) {
    return (1 - (-(z[0] - batch.targets[0].tensor).square()).exp()).squeeze(1);
  });
  Objective objective(testing::small_net(), welsch, testing::small_data().full());
  Stepper stepper(objective, methods::hessian_free({.damping = {.initial = 1e-3}}));
  double start = objective.value();
  bool negative = false;
  for (int i = 0; i < 60; ++i) negative |= stepper.step().solver_stop.find("<= 0") != std::string::npos;
  EXPECT_TRUE(negative);
  EXPECT_LT(objective.value(), 0.5 * start);
}

}  // namespace
}  // namespace osculant
