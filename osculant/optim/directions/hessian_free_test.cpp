#include "osculant/optim/directions/hessian_free.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "osculant/curvature/curvature.h"
#include "osculant/curvature/squared_gradients.h"
#include "osculant/io/archive.h"
#include "osculant/objective/testing.h"
#include "osculant/optim/methods.h"
#include "osculant/optim/stepper.h"
#include "osculant/optim/testing.h"

namespace osculant {
namespace {

using testing::f64;
using testing::propose;
using testing::relative_difference;

std::unique_ptr<Direction> direction_for(const Objective& objective, const HessianFreeOptions& options) {
  return hessian_free_direction(options, objective);
}

TEST(HessianFree, tends_to_the_dense_solution) {
  auto objective = testing::small_mlp();
  Tensor G = to_dense(GaussNewton(objective)), g = objective.value_and_gradient().second;
  for (double lambda : {1e-3, 1.0}) {
    auto direction = direction_for(objective, {.cg_iterations = 400, .cg_tolerance = 1e-14});
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
    auto direction = direction_for(objective, {.cg_iterations = k, .cg_tolerance = 0});
    auto step = propose(*direction, objective, lambda);
    EXPECT_EQ(step.solver_iterations, k);
    EXPECT_LT(relative_difference(step.displacement, expected), 1e-7) << k;
  }
}

TEST(HessianFree, starts_at_a_share_of_the_last_solution) {
  auto objective = testing::small_mlp();
  auto direction = direction_for(objective, {.cg_iterations = 3});
  auto first = propose(*direction, objective, 1e-3), second = propose(*direction, objective, 1e-3);
  EXPECT_LT(second.predicted_change, first.predicted_change);  // further down the same model
  auto fresh = direction_for(objective, {.cg_iterations = 3, .momentum = 0});
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

  // Gauss-Newton goes from (-1.2, 1) to (1, -3.84), where Rosenbrock's function is 48 times as high.
  Stepper other(testing::rosenbrock(), methods::hessian_free({.damping = {.initial = 1e-4}}));
  EXPECT_LT(other.step().rho, -40);
  EXPECT_DOUBLE_EQ(other.step().damping, 1.5e-4);
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

// 12-6-1, tanh, inputs that differ in size by a factor of 1,000.
Objective badly_scaled() {
  Tensor scales = at::logspace(1, -2, 12, 10, f64());
  Tensor W = (0.3 * testing::normal({6, 12}, 31) / scales.clamp_min(0.1)).requires_grad_(),
         b = testing::normal({6}, 32).requires_grad_(), V = testing::normal({1, 6}, 33).requires_grad_();
  Model net({{"0.weight", W}, {"0.bias", b}, {"2.weight", V}}, [=](const Model::Inputs& x) -> Model::Outputs {
    return {at::linear(at::tanh(at::linear(x[0], W, b)), V)};
  });
  Tensor X = testing::normal({200, 12}, 34) * scales;
  return Objective(net, MeanSquaredError(), Dataset(X, (X / scales).sum(1, true).sin()).full());
}

TEST(HessianFree, preconditioners_need_fewer_iterations_to_the_same_solution) {
  auto objective = badly_scaled();
  constexpr double lambda = 1e-5;
  Tensor G = to_dense(GaussNewton(objective)), g = objective.value_and_gradient().second;
  Tensor expected = at::linalg_solve(G + lambda * torch::eye(g.numel(), f64()), -g);
  auto iterations = [&](Preconditioner kind) {
    auto direction = direction_for(
        objective,
        {.cg_iterations = 2000, .cg_tolerance = 1e-13, .preconditioner = {.kind = kind, .rank = 30}});
    auto step = propose(*direction, objective, lambda);
    EXPECT_LT(relative_difference(step.displacement, expected), 1e-5);
    return step.solver_iterations;
  };
  int64_t plain = iterations(Preconditioner::none);
  EXPECT_LT(iterations(Preconditioner::diagonal), 0.8 * plain);
  EXPECT_LT(iterations(Preconditioner::low_rank), 0.8 * plain);
  EXPECT_LT(iterations(Preconditioner::kfac), 0.4 * plain);
  EXPECT_LT(iterations(Preconditioner::ekfac), 0.4 * plain);
}

// Of one layer without activation and one output the Kronecker product is G itself.
TEST(HessianFree, has_the_inverse_where_the_kronecker_products_are_the_matrix) {
  Tensor W = testing::normal({1, 5}, 1).requires_grad_();
  Model net({{"weight", W}}, [=](const Model::Inputs& x) -> Model::Outputs { return {at::linear(x[0], W)}; });
  Objective objective(net, Huber({.delta = 100}),
                      Dataset(testing::normal({30, 5}, 2), testing::normal({30, 1}, 3)).full());
  auto here = objective.linearize({.gauss_newton = true});
  GaussNewton G(here);
  Tensor expected = at::linalg_inv(to_dense(G) + 0.01 * torch::eye(5, f64()));
  for (auto kind : {Preconditioner::kfac, Preconditioner::ekfac}) {
    CgPreconditioner preconditioner({.kind = kind});
    RandomStream random(1, "test");
    preconditioner.update(G, *here, random);
    EXPECT_LT(relative_difference(to_dense(*preconditioner.inverse(0.01)), expected), 1e-12);
  }
}

// What layers tell is exact, the rest by signs.
TEST(HessianFree, divides_by_the_squared_gradients_of_examples) {
  for (const auto& layer_case : layer_cases()) {
    auto [objective, batch] = layer_case.make();
    auto here = objective.linearize({.gauss_newton = true, .jacobian = true});
    CgPreconditioner preconditioner({.kind = Preconditioner::diagonal, .probes = 3});
    RandomStream random(1, "test"), same(1, "test");
    preconditioner.update(GaussNewton(here), *here, random);
    auto squares = mean_squared_gradients(objective);
    EXPECT_EQ(squares.untapped.empty(), layer_case.untapped.empty());
    Tensor d = squares.mean, estimate = here->mean_squared_gradients(3, same);
    for (const auto& parameter : squares.untapped) {
      const auto& at = objective.layout().parameters()[parameter.index];
      d.narrow(0, at.offset, at.size).copy_(estimate.narrow(0, at.offset, at.size));
    }
    Tensor ones = at::ones({objective.parameters()}, f64());
    EXPECT_LT(relative_difference(preconditioner.inverse(0.1)->apply(ones), (d + 0.1).pow(-0.75)), 1e-12)
        << layer_case.name;
  }
}

TEST(HessianFree, makes_its_preconditioner_anew_after_so_many_steps_or_when_iterations_grow) {
  auto objective = testing::small_mlp();
  Stepper stepper(
      objective,
      methods::hessian_free(
          {.preconditioner = {.kind = Preconditioner::low_rank, .rank = 4, .refresh = 5, .growth = 1e9}}));
  for (int i = 0; i < 12; ++i)
    EXPECT_EQ(stepper.step().note.find("made anew, 14 products") != std::string::npos, i % 5 == 0) << i;
  CgPreconditioner waiting({.kind = Preconditioner::low_rank, .rank = 4, .refresh = 100, .growth = 1.5});
  EXPECT_TRUE(waiting.due());
  RandomStream random(1, "test");
  auto here = objective.linearize({.gauss_newton = true});
  waiting.update(GaussNewton(here), *here, random);
  for (int64_t iterations : {10, 5, 15}) {
    waiting.solved(iterations);
    EXPECT_FALSE(waiting.due()) << iterations;
  }
  waiting.solved(16);
  EXPECT_TRUE(waiting.due());
}

// f(x, y) = x^2/2 + (y^2 - 1)^2/4: a saddle of value 1/4 at 0, minima of value 0 at y = +-1.
TEST(HessianFree, with_the_hessian_leaves_a_saddle_along_its_negative_curvature) {
  for (auto preconditioner : {Preconditioner::none, Preconditioner::low_rank}) {
    Tensor p = torch::tensor({0.5, 1e-6}, f64()).requires_grad_();
    auto objective =
        Objective::function({{"p", p}}, [p] { return p[0].square() / 2 + (p[1].square() - 1).square() / 4; });
    Stepper stepper(
        objective, methods::hessian_free(
                       {.damping = {.initial = 0.1}, .preconditioner = {.kind = preconditioner, .rank = 2}}));
    bool followed = false;
    for (int i = 0; i < 60; ++i)
      followed |= stepper.step().note.find("negative curvature -") != std::string::npos;
    EXPECT_TRUE(followed);
    EXPECT_LT(objective.value(), 1e-10);
  }
}

// At a point where H is indefinite: the step's model is that of the dense H, also from a warm start.
TEST(HessianFree, knows_what_a_step_along_negative_curvature_promises) {
  auto [A, b, objective] = testing::quadratic(torch::tensor({-2.0, -0.5, 0.1, 1.0, 3.0}, f64()));
  auto direction = direction_for(objective, {.momentum = 0.95});
  for (double lambda : {10.0, 0.3, 0.3, 1e-3}) {
    auto step = propose(*direction, objective, lambda);
    const Tensor& p = step.displacement;
    double model = (p.dot(A.matmul(p)) / 2 - b.dot(p)).item<double>();
    EXPECT_NEAR(step.predicted_change, model, 1e-10 * std::abs(model)) << lambda;
    EXPECT_NEAR(step.slope, -b.dot(p).item<double>(), 1e-10 * std::abs(step.slope));
    EXPECT_LT(model, 0);
    EXPECT_EQ(step.note.empty(), lambda > 2) << step.note;
  }
  // The first direction is -g: by g'g / (abs(g'Ag / g'g) + lambda) of itself where it curves down.
  auto [D, c, steep] = testing::quadratic(torch::tensor({-2.0, -1.0}, f64()));
  auto step = propose(*direction_for(steep, {}), steep, 0.5);
  double curvature = (c.dot(D.matmul(c)) / c.dot(c)).item<double>();
  EXPECT_LT(relative_difference(step.displacement, c / (std::abs(curvature) + 0.5)), 1e-12);
}

TEST(HessianFree, grows_its_curvature_sample_where_half_the_promise_is_the_samples_own) {
  auto objective = testing::small_mlp();
  auto examples = [&](int64_t begin, int64_t end) {
    return objective.on(objective.terms()[0].data.batch(0).slice(begin, end));
  };
  auto batch = examples(0, 20);
  Tensor g = batch.value_and_gradient().second;
  Tensor own = to_dense(GaussNewton(examples(0, 4))), other = to_dense(GaussNewton(examples(4, 8)));
  int grown = 0;
  for (double lambda : {1e-4, 1e-2, 1.0, 100.0}) {
    for (bool refused : {false, true}) {
      auto direction = direction_for(objective, {.curvature_share = 0.2, .curvature_growth = 2});
      auto linearization = batch.linearize(direction->needs());
      RandomStream random(0, "test");
      Samples samples(objective, batch, random);
      StepContext context{*linearization, linearization->gradient(), samples, 1, random};
      direction->prepare(context);
      const Tensor p = direction->propose(context, Damping({.initial = lambda})).displacement;
      refused ? direction->rejected({}) : direction->accepted({});
      auto model = [&](const Tensor& B) { return (g.dot(p) + p.dot(B.matmul(p)) / 2).item<double>(); };
      bool own_alone = model(other) - model(own) > 0.5 * std::abs(model(own));
      Archive archive("test", 1);
      direction->save(archive);
      EXPECT_EQ(archive.number("share"), own_alone || refused ? 0.4 : 0.2) << lambda;
      grown += own_alone && !refused;
    }
  }
  EXPECT_GT(grown, 0);
  EXPECT_LT(grown, 4);
}

TEST(HessianFree, charges_what_it_spends) {
  auto spent = [](const HessianFreeOptions& options) {
    auto objective = testing::small_mlp();
    Stepper stepper(objective, methods::hessian_free(options), {.batch_size = 24});
    auto record = stepper.step();
    return std::pair(record.gradient_equivalents, static_cast<double>(record.solver_iterations));
  };
  constexpr double gradient = 1, forward = 1.0 / 3, graph = 0.7, product = 1.2, hessian = 1.5;
  // Without backtracking: one trial.
  auto [whole, i] = spent({.backtrack = false});
  EXPECT_NEAR(whole, (gradient + graph + i * product + forward) / 2, 1e-12);
  auto [low_rank, j] =
      spent({.backtrack = false, .preconditioner = {.kind = Preconditioner::low_rank, .rank = 5}});
  EXPECT_NEAR(low_rank, (gradient + graph + (j + 15) * product + forward) / 2, 1e-12);
  // A pass forward and one back by the layers' outputs; to see layers one and two, on 16 of 24 examples.
  constexpr double layers = 2 * forward, seen = 3 * forward * 16 / 24;
  for (auto kind : {Preconditioner::diagonal, Preconditioner::kfac}) {
    auto [by_layers, k] = spent({.backtrack = false, .preconditioner = {.kind = kind}});
    EXPECT_NEAR(by_layers, (gradient + graph + k * product + layers + seen + forward) / 2, 1e-12);
  }
  auto [newton, m] =
      spent({.curvature = CurvatureMatrix::hessian, .damping = {.initial = 10}, .backtrack = false});
  EXPECT_NEAR(newton, (1.1 + m * hessian + forward) / 2, 1e-12);
  // A quarter of the batch for curvature, and one product on another quarter.
  auto [part, l] = spent({.backtrack = false, .curvature_share = 0.25});
  EXPECT_NEAR(part, (gradient + forward + (2 * (forward + graph) + (l + 1) * product) / 4) / 2, 1e-12);
}

}  // namespace
}  // namespace osculant
