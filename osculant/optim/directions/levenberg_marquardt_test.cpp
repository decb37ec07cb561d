#include "osculant/optim/directions/levenberg_marquardt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/autograd.h>
#include <torch/nn.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "osculant/base/cost.h"
#include "osculant/base/error.h"
#include "osculant/base/testing.h"
#include "osculant/io/archive.h"
#include "osculant/objective/weight_decay.h"
#include "osculant/optim/methods.h"
#include "osculant/optim/minimizer.h"
#include "osculant/optim/testing.h"

namespace osculant {
namespace {

using testing::f64;
using ::testing::HasSubstr;
using testing::normal;
using testing::propose;
using testing::relative_difference;

// 2-6-1, n = 25, on the first `examples` of small_data().
Objective fit(const OutputLoss& loss, int64_t examples, int64_t batch_size = 0, double decay = 0) {
  Tensor X = normal({examples, 2}, 11), y = (X.prod(1, true) + X.sum(1, true)).sigmoid();
  Dataset data(X, y);
  Objective objective(testing::small_net(), loss, batch_size > 0 ? data.batches(batch_size) : data.full());
  return decay > 0 ? objective.plus(weight_decay(decay)) : objective;
}

struct Oracle {
  Tensor G, g;
};
Oracle dense(const Objective& objective) {
  auto linearization = objective.linearize({.gradient = true, .gauss_newton = true});
  return {linearization->gauss_newton_product(torch::eye(objective.parameters(), f64())),
          linearization->gradient()};
}

Tensor expected_step(const Oracle& oracle, double delta, LmScaling scaling) {
  Tensor D = oracle.G.diagonal();
  D = scaling == LmScaling::diagonal ? D.clamp_min(1e-6 * D.max().item<double>()) : at::ones_like(D);
  return -at::linalg_solve(oracle.G + delta * at::diag(D), oracle.g);
}

// Both forms, with more outputs than parameters and with fewer, against the Gauss-Newton matrix by products.
TEST(LevenbergMarquardt, steps_are_those_of_the_dense_system) {
  for (const auto& loss : {MeanSquaredError(), BinaryCrossEntropy(), Huber({.delta = 0.5})}) {
    for (int64_t examples : {12, 40}) {
      auto objective = fit(loss, examples, 7);
      auto oracle = dense(objective);
      for (auto scaling : {LmScaling::identity, LmScaling::diagonal}) {
        Tensor expected = expected_step(oracle, 1e-2, scaling);
        for (auto form : {LmForm::automatic, LmForm::primal, LmForm::dual}) {
          auto direction = levenberg_marquardt_direction({.scaling = scaling, .form = form});
          auto step = propose(*direction, objective, 1e-2);
          EXPECT_LT(relative_difference(step.displacement, expected), 1e-8)
              << loss.name() << ", " << examples;
          Tensor p = step.displacement;
          double model = (oracle.g.dot(p) + p.dot(oracle.G.matmul(p)) / 2).item<double>();
          EXPECT_NEAR(step.predicted_change, model, 1e-8 * std::abs(model));
        }
      }
    }
  }
}

// With a budget below J's 2,400 bytes and above those of J J'.
TEST(LevenbergMarquardt, solves_the_dual_system_by_layers_where_the_jacobian_is_too_large) {
  for (const auto& loss : {MeanSquaredError(), BinaryCrossEntropy(), Huber({.delta = 0.5})}) {
    for (int64_t batch_size : {12, 5}) {
      auto objective = fit(loss, 12, batch_size);
      Tensor expected = expected_step(dense(objective), 1e-2, LmScaling::identity);
      auto by_jacobian = levenberg_marquardt_direction({.form = LmForm::dual});
      auto whole = propose(*by_jacobian, objective, 1e-2);
      objective.set_memory_budget(2000);
      auto by_layers = levenberg_marquardt_direction({.form = LmForm::dual});
      auto step = propose(*by_layers, objective, 1e-2);
      EXPECT_LT(relative_difference(step.displacement, expected), 1e-9);
      EXPECT_NEAR(step.predicted_change, whole.predicted_change, 1e-12);
      objective.set_memory_budget(1000);  // not for J J' either
      EXPECT_THROW(propose(*by_layers, objective, 1e-2), Error);
    }
  }
}

TEST(LevenbergMarquardt, follows_other_gradients_with_the_same_matrix) {
  auto objective = fit(MeanSquaredError(), 12);
  auto oracle = dense(objective);
  Tensor other = normal({25}, 3);
  for (auto form : {LmForm::primal, LmForm::dual}) {
    auto direction = levenberg_marquardt_direction({.form = form});
    auto linearization = objective.linearize(direction->needs() | Needs{.gradient = true});
    RandomStream random(0, "test");
    Samples samples(objective, objective, random);
    StepContext context{*linearization, 0.3 * oracle.g, samples, 1, random};  // clipped
    direction->prepare(context);
    Tensor clipped = direction->propose(context, Damping({.initial = 0.1})).displacement;
    EXPECT_LT(relative_difference(clipped, 0.3 * expected_step(oracle, 0.1, LmScaling::identity)), 1e-9);
    Tensor step = direction->step_for(context, other, Damping({.initial = 0.1}));
    EXPECT_LT(relative_difference(step, expected_step({oracle.G, other}, 0.1, LmScaling::identity)), 1e-9);
  }
}

// Against z'' by a difference of the outputs along p; h = 0.1 leaves the third derivative in.
TEST(LevenbergMarquardt, bends_the_step_as_the_outputs_curve) {
  for (const auto& loss : {MeanSquaredError(), BinaryCrossEntropy()}) {
    for (int64_t examples : {12, 40}) {
      for (double decay : {0.0, 0.05}) {
        auto objective = fit(loss, examples, 7, decay);
        auto& layout = objective.layout();
        auto oracle = dense(objective);
        Tensor p = expected_step(oracle, 0.5, LmScaling::identity), theta = layout.theta().clone();
        auto moving = objective.linearize({.jacobian = true});
        auto outputs = [&](double t) {
          layout.assign(theta + t * p);
          return moving->outputs_now();
        };
        double t = 1e-3;
        moving->value();
        Tensor second = (outputs(t) - 2 * outputs(0) + outputs(-t)) / (t * t), z = outputs(0);
        Tensor bent = objective.linearize({.jacobian = true})->gauss_newton_difference(z + second);
        Tensor q = -at::linalg_solve(oracle.G + 0.5 * at::eye(25, f64()), bent) / 2;
        ASSERT_LT(2 * q.norm().item<double>(), 0.75 * p.norm().item<double>());
        for (auto form : {LmForm::primal, LmForm::dual}) {
          if (form == LmForm::dual && decay > 0) continue;
          auto direction = levenberg_marquardt_direction({.form = form});
          Tensor taken = propose(*direction, objective, 0.5, /*tries=*/true).displacement;
          EXPECT_LT(relative_difference(taken - p, q), 0.1) << loss.name() << " of " << examples;
          auto plain = levenberg_marquardt_direction({.form = form, .acceleration = 0});
          EXPECT_LT(relative_difference(propose(*plain, objective, 0.5, true).displacement, p), 1e-9);
        }
      }
    }
  }
}

// The second step against the least of the model that is damped towards mu times the first.
TEST(GaussNewton, keeps_of_the_last_step_what_the_batch_does_not_deny) {
  constexpr double delta = 0.3, mu = 0.8, rate = 0.5;
  for (int64_t examples : {12, 40}) {
    for (auto form : {LmForm::primal, LmForm::dual}) {
      auto objective = fit(BinaryCrossEntropy(), examples);
      auto& layout = objective.layout();
      Stepper stepper(
          objective,
          methods::gauss_newton({.learning_rate = rate, .damping = delta, .momentum = mu, .form = form}), {});
      auto first = dense(objective);
      Tensor start = layout.theta().clone(), s = expected_step(first, delta, LmScaling::identity);
      stepper.step();
      EXPECT_LT(relative_difference(layout.theta(), start + rate * s), 1e-10);
      auto here = dense(objective);
      Tensor theta = layout.theta().clone(), eye = at::eye(25, f64());
      // (G + delta) p = -g + delta mu s
      Tensor p = at::linalg_solve(here.G + delta * eye, delta * mu * s - here.g);
      stepper.step();
      EXPECT_LT(relative_difference(layout.theta() - theta, rate * p), 1e-8) << examples;
    }
  }
}

TEST(GaussNewton, goes_on_from_a_checkpoint_to_the_same_bits) {
  auto objective = fit(MeanSquaredError(), 12), other = fit(MeanSquaredError(), 12);
  Stepper stepper(objective, methods::gauss_newton(), {}), resumed(other, methods::gauss_newton(), {});
  for (int i = 0; i < 3; ++i) stepper.step();
  Archive archive("test", 1);
  stepper.save(archive);
  resumed.load(archive);
  for (int i = 0; i < 3; ++i) {
    stepper.step();
    resumed.step();
  }
  EXPECT_TRUE(other.layout().theta().equal(objective.layout().theta()));
}

// Of Rosenbrock's function, whose valley bends: mu s goes uphill, and no damping shortens it.
TEST(LevenbergMarquardt, gives_up_momentum_that_is_refused) {
  for (double momentum : {0.0, 0.5, 0.9, 1.0}) {
    Tensor theta = at::tensor({-1.2, 1.0}, at::kDouble).requires_grad_();
    Model model({{"theta", theta}}, [theta](const Model::Inputs& x) {
      Tensor a = theta[0], b = theta[1];
      return Model::Outputs{at::stack({10 * (b - a * a), 1 - a}).unsqueeze(0) * x[0]};
    });
    Objective objective(model, MeanSquaredError(),
                        Dataset(at::ones({1, 1}, at::kDouble), at::zeros({1, 2}, at::kDouble)).full());
    LevenbergMarquardtOptions options{.momentum = momentum};
    auto summary = minimize(objective, methods::levenberg_marquardt(options), {.steps = 60});
    EXPECT_LT(objective.value(), 1e-20) << momentum << ": " << summary.brief_report();
  }
}

TEST(LevenbergMarquardt, counts_regularisers_in_the_matrix) {
  auto objective = fit(MeanSquaredError(), 12, 0, 0.05);
  auto oracle = dense(objective);
  auto step = propose(*levenberg_marquardt_direction({}), objective, 1e-3);
  EXPECT_LT(relative_difference(step.displacement, expected_step(oracle, 1e-3, LmScaling::identity)), 1e-9);
  EXPECT_THROW(propose(*levenberg_marquardt_direction({.form = LmForm::dual}), objective, 1e-3), Error);
}

// At lambda = 0 the Gauss-Newton step, which ends linear least squares at once.
TEST(LevenbergMarquardt, is_gauss_newton_without_damping) {
  auto objective = testing::least_squares(torch::logspace(-2, 0.5, 6, 10, f64()));
  auto batch = objective.terms()[0].data.batch(0);
  auto step = propose(*levenberg_marquardt_direction({}), objective, 0);
  Tensor w = std::get<0>(at::linalg_lstsq(batch.inputs[0].tensor, batch.targets[0].tensor)).view({-1});
  EXPECT_EQ(step.note, "");
  EXPECT_LT(relative_difference(step.displacement, w), 1e-9);
}

// The same where J of a network has full column rank: p = -J^+ r by QR, J a backward pass a row.
TEST(LevenbergMarquardt, is_gauss_newton_of_a_network_without_damping) {
  Tensor X = normal({30, 2}, 11), y = X.prod(1, true) + X.sum(1, true);
  Tensor W = normal({2, 2}, 31).requires_grad_(), b = normal({2}, 32).requires_grad_(),
         V = normal({1, 2}, 33).requires_grad_();
  Model net({{"W", W}, {"b", b}, {"V", V}}, [=](const Model::Inputs& x) -> Model::Outputs {
    return {at::linear(at::tanh(at::linear(x[0], W, b)), V)};
  });
  Objective objective(net, MeanSquaredError(), Dataset(X, y).full());
  Tensor z = net.forward({X})[0];
  std::vector<Tensor> rows;
  for (int64_t i = 0; i < 30; ++i) {
    auto parts = torch::autograd::grad({z[i][0]}, {W, b, V}, {}, /*retain_graph=*/true);
    rows.push_back(at::cat({parts[0].flatten(), parts[1].flatten(), parts[2].flatten()}));
  }
  Tensor J = at::stack(rows), r = (z - y).detach();
  auto [Q, R] = at::linalg_qr(J);
  ASSERT_GT((R.diagonal().abs().min() / R.diagonal().abs().max()).item<double>(), 1e-3);
  Tensor expected = -at::linalg_solve(R, Q.t().mm(r)).squeeze(1);
  auto step = propose(*levenberg_marquardt_direction({}), objective, 0);
  EXPECT_EQ(step.note, "");
  EXPECT_LT(relative_difference(step.displacement, expected), 1e-9);
}

TEST(LevenbergMarquardt, raises_delta_where_cholesky_fails) {
  auto objective = fit(MeanSquaredError(), 12);  // J'J of rank 12, n = 25
  auto step = propose(*levenberg_marquardt_direction({.form = LmForm::primal}), objective, 0);
  EXPECT_THAT(step.note, HasSubstr("Cholesky failed"));
  EXPECT_LT(step.slope, 0);
}

// w1 w2 = 1 is solved by a curve: J'J is singular at every solution. The rate is quadratic all the same.
TEST(LevenbergMarquardt, converges_fast_though_the_matrix_is_singular_at_the_solution) {
  LevenbergMarquardtOptions quadratic{.damping = {.rule = DampingRule::fixed, .initial = 1},
                                      .residual_power = 1};
  for (const auto& options : {quadratic, LevenbergMarquardtOptions{}}) {
    Tensor w = torch::tensor({3.0, 0.2}, f64()).requires_grad_();
    Model model({{"w", w}}, [w](const Model::Inputs&) -> Model::Outputs {
      return {(w[0] * w[1]).view({1, 1})};
    });
    Objective objective(model, MeanSquaredError(),
                        Dataset(torch::zeros({1, 1}, f64()), torch::ones({1, 1}, f64())).full());
    auto summary =
        minimize(objective, methods::levenberg_marquardt(options), {.steps = 12, .target = "loss<=1e-24"});
    EXPECT_EQ(summary.reason, StopReason::target) << summary.brief_report();
  }
}

TEST(LevenbergMarquardt, tries_another_damping_without_another_jacobian) {
  auto objective = testing::small_mlp();
  Stepper stepper(objective,
                  methods::levenberg_marquardt({.damping = {.rule = DampingRule::nielsen, .initial = 1e-9}}));
  int64_t retried = 0;
  for (int i = 0; i < 25; ++i) {
    double before = stepper.gradient_equivalents();
    auto record = stepper.step();
    ASSERT_TRUE(record.accepted);
    // A gradient, one output's rows, and for each damping a look ahead, what comes back of it, and a value.
    double expected =
        Price::gradient + Price::jacobian_transpose_product +
        static_cast<double>(record.attempts) * (2 * Price::forward + Price::jacobian_transpose_product);
    EXPECT_NEAR(stepper.gradient_equivalents() - before, expected, 1e-9);
    retried += record.attempts > 1;
  }
  EXPECT_GT(retried, 0);
}

TEST(LevenbergMarquardt, trains_in_float32_and_by_mini_batches) {
  Model net = testing::small_net(3, at::kFloat);
  Objective single(net, MeanSquaredError(), testing::small_data().to(at::kCPU, at::kFloat).full());
  EXPECT_LT(minimize(single, methods::levenberg_marquardt(), {.steps = 60}).final_loss, 1e-4);
  auto batches = testing::small_mlp(16);
  double start = batches.value();
  EXPECT_LT(minimize(batches, methods::levenberg_marquardt(), {.steps = 60}).final_loss, 0.05 * start);
}

TEST(LevenbergMarquardt, refuses_systems_that_are_too_large) {
  torch::nn::Linear net(torch::nn::LinearOptions(10001, 1).bias(false));
  net->to(torch::kFloat64);
  Dataset data(torch::zeros({2, 10001}, f64()), torch::ones({2, 1}, f64()));
  Objective objective(net, MeanSquaredError(), data.full());
  auto message =
      message_of([&] { propose(*levenberg_marquardt_direction({.form = LmForm::primal}), objective, 1); },
                 ErrorKind::memory);
  EXPECT_THAT(message, HasSubstr("dense 10001 x 10001 matrix of 763.1 MiB"));
  EXPECT_TRUE(
      propose(*levenberg_marquardt_direction({}), objective, 1).displacement.defined());  // dual: 2 x 2
}

// BENCHMARKS L1: one period of a sine by 1-5-1 to mse 0.002 in a median of at most 10 steps, every seed.
TEST(LevenbergMarquardt, fits_a_sine_from_every_seed) {
  std::vector<int64_t> steps;
  Tensor x = torch::linspace(-1, 1, 41, f64()).unsqueeze(1), y = at::sin(std::numbers::pi * x);
  for (uint64_t seed = 0; seed < 30; ++seed) {
    torch::manual_seed(seed);
    torch::nn::Sequential net(torch::nn::Linear(1, 5), torch::nn::Tanh(), torch::nn::Linear(5, 1));
    net->to(torch::kFloat64);
    Objective objective(net, MeanSquaredError(), Dataset(x, y).full());
    auto summary =
        minimize(objective, methods::levenberg_marquardt(), {.steps = 50, .target = "loss<=0.002"});
    EXPECT_EQ(summary.reason, StopReason::target) << "seed " << seed << ": " << summary.brief_report();
    steps.push_back(summary.steps);
  }
  std::nth_element(steps.begin(), steps.begin() + 15, steps.end());
  EXPECT_LE(steps[15], 10);
}

}  // namespace
}  // namespace osculant
