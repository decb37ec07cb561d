#include "osculant/optim/directions/newton.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/autograd.h>
#include <torch/types.h>

#include <cmath>

#include "osculant/base/error.h"
#include "osculant/base/testing.h"
#include "osculant/curvature/curvature.h"
#include "osculant/optim/methods.h"
#include "osculant/optim/minimizer.h"
#include "osculant/optim/testing.h"

namespace osculant {
namespace {

using testing::f64;
using testing::relative_difference;

struct Dense {
  Tensor H, G, g;
};
Dense dense_parts(const Objective& objective) {
  auto linearization = objective.linearize({.gradient = true, .hessian = true, .gauss_newton = true});
  return {dense(Hessian(linearization)).matrix, dense(GaussNewton(linearization)).matrix,
          linearization->gradient()};
}

Step newton_step(const Objective& objective, const NewtonOptions& options, double damping = 0) {
  auto direction = newton_direction(options, objective.parameters());
  return testing::propose(*direction, objective, damping);
}

double quadratic_model(const Dense& d, const Tensor& p) {
  return (d.g.dot(p) + p.dot(d.H.mv(p)) / 2).item<double>();
}

// Each row of the table of inverses against its formula, on the indefinite Hessian of a small network.
TEST(Newton, inverts_as_the_table_says) {
  auto objective = testing::small_mlp();
  auto d = dense_parts(objective);
  auto [l, V] = at::linalg_eigh(d.H);
  ASSERT_LT(l[0].item<double>(), -1e-3);
  double delta = 0.1, lowest = l[0].item<double>(), epsilon = 0.02;
  auto n = objective.parameters();
  auto I = torch::eye(n, f64());
  auto apply = [&](const Tensor& f) { return -V.mv(f * V.t().mv(d.g)); };
  auto expect = [&](const NewtonOptions& options, const Tensor& expected, const char* what) {
    auto step = newton_step(objective, options, delta);
    EXPECT_LT(relative_difference(step.displacement, expected), 1e-10) << what;
    EXPECT_NEAR(step.predicted_change, quadratic_model(d, expected), 1e-10 * std::abs(step.predicted_change))
        << what;
    EXPECT_NEAR(step.slope, d.g.dot(expected).item<double>(), 1e-10) << what;
    EXPECT_EQ(step.solver_iterations, n) << what;
  };
  expect({.inverse = NewtonInverse::absolute}, apply(1 / (l.abs() + delta)), "absolute");
  expect({.inverse = NewtonInverse::damped}, -at::linalg_solve(d.H + (delta - lowest) * I, d.g), "damped");
  expect({.inverse = NewtonInverse::corrected, .epsilon = epsilon}, apply(1 / l.abs() + epsilon),
         "corrected");
  expect({.inverse = NewtonInverse::absolute, .scale = NewtonDamping::gradient_norm},
         apply(1 / (l.abs() + delta * d.g.norm().sqrt())), "gradient norm");
  expect({.inverse = NewtonInverse::regularised, .regularizer = NewtonRegularizer::identity},
         -at::linalg_solve(d.H + (delta - lowest) * I, d.g), "identity");
}

TEST(Newton, solves_with_a_diagonal_regularizer) {
  auto objective = testing::small_mlp();
  auto d = dense_parts(objective);
  auto check = [&](const Tensor& diagonal, NewtonRegularizer which) {
    Tensor R = diagonal.clamp_min(1e-3 * diagonal.max().item<double>());
    // The smallest eigenvalue of the pencil (H, R).
    Tensor root = at::diag(R.rsqrt());
    double lowest = at::linalg_eigvalsh(root.mm(d.H).mm(root)).min().item<double>();
    double delta = 0.1 - std::min(lowest, 0.0);
    auto step = newton_step(objective, {.inverse = NewtonInverse::regularised, .regularizer = which}, 0.1);
    EXPECT_LT(relative_difference(step.displacement, -at::linalg_solve(d.H + delta * at::diag(R), d.g)),
              1e-9);
  };
  check(d.G.diagonal(), NewtonRegularizer::gauss_newton);
  check(empirical_fisher_diagonal(objective), NewtonRegularizer::empirical_fisher);
  check(d.G.diagonal(), NewtonRegularizer::true_fisher);  // mse is a likelihood
}

// R = V diag(l) V' + D of G's four largest eigenvalues: R V = V l + D V and R's diagonal is G's.
TEST(Newton, solves_with_a_regularizer_of_low_rank_and_a_diagonal) {
  auto objective = testing::small_mlp();
  auto d = dense_parts(objective);
  auto [l, V] = at::linalg_eigh(d.G);
  int64_t n = objective.parameters(), k = 4;
  Tensor Vk = V.narrow(1, n - k, k), dominant = Vk.mm(at::diag(l.narrow(0, n - k, k))).mm(Vk.t());
  double least = 1e-3 * l[n - 1].item<double>();
  Tensor R = dominant + at::diag((d.G - dominant).diagonal().clamp_min(least));
  Tensor L_inverse = at::linalg_inv(at::linalg_cholesky(R));
  double lowest = at::linalg_eigvalsh(L_inverse.mm(d.H).mm(L_inverse.t())).min().item<double>();
  double delta = 0.1 - std::min(lowest, 0.0);
  Tensor expected = -at::linalg_solve(d.H + delta * R, d.g);
  auto step = newton_step(
      objective,
      {.inverse = NewtonInverse::regularised, .regularizer = NewtonRegularizer::low_rank_diagonal, .rank = k},
      0.1);
  EXPECT_LT(relative_difference(step.displacement, expected), 1e-9);
  EXPECT_NEAR(step.slope, d.g.dot(expected).item<double>(), 1e-9 * std::abs(step.slope));
  EXPECT_NEAR(step.predicted_change, quadratic_model(d, expected), 1e-9 * std::abs(step.predicted_change));
  EXPECT_EQ(step.solver_iterations, 2 * n);
}

// The sum over an example's classes c of p_c (d log p_c / d theta)^2, each by a backward pass of its own.
TEST(Newton, the_true_fisher_is_an_expectation_over_the_networks_own_targets) {
  Tensor X = testing::normal({9, 2}, 11), W = testing::normal({3, 2}, 12).requires_grad_(),
         b = testing::normal({3}, 13).requires_grad_();
  Model net({{"W", W}, {"b", b}},
            [=](const Model::Inputs& x) -> Model::Outputs { return {at::linear(at::tanh(x[0]), W, b)}; });
  Tensor expected = torch::zeros({9}, f64());
  for (int64_t i = 0; i < 9; ++i) {
    for (int64_t c = 0; c < 3; ++c) {
      Tensor log_p = net.forward({X.slice(0, i, i + 1)})[0].log_softmax(1)[0][c];
      auto gradients = torch::autograd::grad({log_p}, {W, b});
      Tensor g = at::cat({gradients[0].flatten(), gradients[1].flatten()});
      expected += log_p.detach().exp() * g.square() / 9;
    }
  }
  Dataset data(X, torch::arange(9) % 3);
  Objective objective(net, CrossEntropy(), data.batches(4));
  auto linearization = objective.linearize({.jacobian = true});
  EXPECT_LT(relative_difference(true_fisher_diagonal(*linearization), expected), 1e-12);
  Objective empirical(net, CrossEntropy(), data.full());
  EXPECT_GT(relative_difference(empirical_fisher_diagonal(empirical), expected), 0.1);
  Objective other(net, FunctionLoss([](const auto& z, const Batch&) { return z[0].square().sum(1); }, true),
                  data.full());
  auto refused = other.linearize({.jacobian = true});
  EXPECT_THAT(message_of([&] { true_fisher_diagonal(*refused); }, ErrorKind::usage),
              ::testing::HasSubstr("the loss function is the negative log likelihood of no distribution"));
}

TEST(Newton, solves_a_quadratic_in_one_step) {
  for (auto inverse : {NewtonInverse::absolute, NewtonInverse::damped, NewtonInverse::regularised,
                       NewtonInverse::corrected, NewtonInverse::pseudo}) {
    auto q = testing::quadratic(torch::logspace(-3, 2, 12, 10, f64()));
    Tensor minimum = at::linalg_solve(q.A, q.b);
    auto method = methods::newton({.inverse = inverse,
                                   .damping = {.rule = DampingRule::fixed, .initial = 0},
                                   .regularizer = NewtonRegularizer::identity,
                                   .epsilon = 0});
    auto summary = minimize(q.objective, method, {.steps = 1});
    EXPECT_EQ(summary.rejected_steps, 0);
    EXPECT_LT(relative_difference(q.objective.layout().theta(), minimum), 1e-9) << int(inverse);
  }
}

TEST(Newton, the_empirical_fisher_is_the_mean_of_squared_gradients) {
  Model net = testing::small_net();
  auto data = testing::small_data();
  Objective objective(net, MeanSquaredError(), data.batches(20));
  Tensor expected = torch::zeros({objective.parameters()}, f64());
  auto batch = data.full().batch(0);
  for (int64_t i = 0; i < 48; ++i) {
    Tensor z = net.forward({batch.inputs[0].tensor.slice(0, i, i + 1)})[0];
    Tensor loss = (z - batch.targets[0].tensor.slice(0, i, i + 1)).square().mean();
    auto gradients = torch::autograd::grad({loss}, net.layout().leaves());
    std::vector<Tensor> flat;
    for (const auto& g : gradients) flat.push_back(g.flatten());
    expected += at::cat(flat).square() / 48;
  }
  double before = objective.ledger().gradient_equivalents();
  EXPECT_LT(relative_difference(empirical_fisher_diagonal(objective), expected), 1e-12);
  EXPECT_NEAR(objective.ledger().gradient_equivalents() - before, 5.0 / 3, 1e-12);
  EXPECT_THROW(empirical_fisher_diagonal(testing::quadratic(torch::ones({3}, f64())).objective), Error);
}

TEST(Newton, the_pseudo_inverse_is_the_shortest_solution) {
  auto q = testing::quadratic(torch::tensor({5.0, 3.0, 2.0, -1.0, 0.0, 0.0}, f64()));
  auto g = q.objective.value_and_gradient().second;
  auto step = newton_step(q.objective, {.inverse = NewtonInverse::pseudo});
  Tensor newton = -at::linalg_pinv(q.A, 1e-12).mv(g);
  if (g.dot(newton).item<double>() < 0) {
    EXPECT_LT(relative_difference(step.displacement, newton), 1e-10);
  } else {
    EXPECT_FALSE(step.note.empty());
  }
  auto definite = testing::quadratic(torch::tensor({5.0, 3.0, 2.0, 0.0, 0.0}, f64()));
  auto whole = newton_step(definite.objective, {.inverse = NewtonInverse::pseudo});
  EXPECT_LT(relative_difference(whole.displacement, at::linalg_pinv(definite.A, 1e-12).mv(definite.b)),
            1e-10);
}

TEST(Newton, takes_absolute_values_where_newtons_step_would_climb) {
  Tensor x = torch::tensor({0.1, 1.0}, f64()).requires_grad_();
  auto objective = Objective::function(
      {{"x", x}}, [=] { return x[0].square() / 2 - x[1].square() / 2 + x[1].pow(4) / 64; });
  auto step = newton_step(objective, {.inverse = NewtonInverse::pseudo});
  EXPECT_LT(step.slope, 0);
  EXPECT_NE(step.note.find("absolute"), std::string::npos);
}

TEST(Newton, another_damping_costs_no_product) {
  auto objective = testing::small_mlp();
  auto direction = newton_direction({}, objective.parameters());
  auto linearization = objective.linearize(direction->needs());
  RandomStream random(0, "test");
  Samples samples(objective, objective, random);
  StepContext context{*linearization, linearization->gradient(), samples, 1, random};
  direction->prepare(context);
  auto first = direction->propose(context, Damping({.initial = 1}));
  int64_t products = objective.ledger().products();
  auto second = direction->propose(context, Damping({.initial = 100}));
  EXPECT_EQ(objective.ledger().products(), products);
  EXPECT_EQ(second.solver_iterations, 0);
  EXPECT_LT(second.displacement.norm().item<double>(), 0.1 * first.displacement.norm().item<double>());
}

TEST(Newton, converges_quadratically_at_the_end) {
  auto objective = testing::rosenbrock();
  auto summary = minimize(objective, methods::newton(), {.steps = 60, .gradient_norm = 1e-12});
  EXPECT_EQ(summary.reason, StopReason::gradient_norm) << summary.brief_report();
  auto adaptive = testing::rosenbrock();
  auto with = minimize(adaptive, methods::newton({.scale = NewtonDamping::gradient_norm}),
                       {.steps = 60, .gradient_norm = 1e-12});
  EXPECT_EQ(with.reason, StopReason::gradient_norm) << with.brief_report();
}

TEST(Newton, refuses_what_is_too_large) {
  try {
    newton_direction({}, 5001);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::memory);
  }
  EXPECT_THROW(newton_direction({.damping = {.initial = -1}}, 5), Error);
}

}  // namespace
}  // namespace osculant
