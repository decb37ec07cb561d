#include "osculant/optim/methods.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "osculant/optim/minimizer.h"
#include "osculant/optim/testing.h"

namespace osculant {
namespace {

using testing::f64;

double minimum(const testing::Quadratic& q) {  // b'A^+ b: f* = -b'A^+ b / 2
  return -0.5 * q.b.dot(std::get<0>(at::linalg_lstsq(q.A, q.b.unsqueeze(1), 1e-12, "gelsd")).squeeze(1))
                    .item<double>();
}

struct Spectrum {
  const char* name;
  Tensor values;
};
std::vector<Spectrum> spectra() {
  auto ill = torch::logspace(-3, 1, 12, 10, f64());
  auto singular = torch::tensor({5.0, 3.0, 2.0, 1.0, 0.5, 0.0, 0.0, 0.0}, f64());
  return {{"well", torch::linspace(1, 3, 10, f64())}, {"ill", ill}, {"singular", singular}};
}

TEST(Methods, first_order_ones_go_down_quadratics) {
  std::vector<Method> methods{methods::sgd({.learning_rate = 0.05}),
                              methods::momentum({.learning_rate = 0.02}),
                              methods::adam({.learning_rate = 0.02}),
                              methods::adamw({.learning_rate = 0.02, .weight_decay = 0}),
                              methods::rmsprop({.learning_rate = 0.005}),
                              methods::muon({.adam_learning_rate = 0.02}),
                              methods::soap({.learning_rate = 0.02, .weight_decay = 0}),
                              methods::shampoo({.learning_rate = 0.02}),
                              methods::adahessian(),
                              methods::sophia({.learning_rate = 0.005})};
  for (const auto& [name, values] : spectra()) {
    for (const auto& method : methods) {
      auto q = testing::quadratic(values);
      double f0 = q.objective.value(), best = minimum(q);
      auto summary = minimize(q.objective, method, {.steps = 1500});
      double left = (summary.final_loss - best) / (f0 - best);
      EXPECT_LT(left, 0.01) << method.name() << ", " << name;
      EXPECT_GT(left, -1e-12) << method.name() << ", " << name;
    }
  }
}

std::vector<Method> quasi_newton_methods() {
  return {methods::lbfgs(),   methods::lsr1(),      methods::bfgs(), methods::dfp(),
          methods::broyden(), methods::ssbroyden(), methods::sr1()};
}

TEST(Methods, quasi_newton_ones_end_on_quadratics) {
  for (const auto& method : quasi_newton_methods()) {
    for (const auto& [name, values] : spectra()) {
      auto q = testing::quadratic(values);
      auto summary = minimize(q.objective, method, {.steps = 300, .gradient_norm = 1e-8});
      EXPECT_EQ(summary.reason, StopReason::gradient_norm) << name << ": " << summary.brief_report();
      EXPECT_NEAR(summary.final_loss, minimum(q), 1e-10) << name << ", " << method.name();
      // A step costs one evaluation of value and gradient unless the line search needs a second; DFP's do.
      double evaluations = method.name() == "dfp" ? 5 : 1.6;
      EXPECT_LT(summary.gradient_equivalents, evaluations * static_cast<double>(summary.steps) + 3)
          << name << ", " << method.name();
    }
  }
}

TEST(Methods, inverse_correction_solves_quadratics_in_one_full_step) {
  for (const auto& [name, values] : spectra()) {
    auto q = testing::quadratic(values);
    double eps = 1e-3;
    auto method = methods::inverse_correction({.learning_rate = 1, .epsilon = eps});
    auto summary = minimize(q.objective, method, {.steps = 1});
    // From 0 the error along l is eps l of the start's: f - f* = eps^2 sum of l^3 c^2 / 2, 0 along l = 0.
    EXPECT_NEAR(summary.final_loss, minimum(q),
                0.5 * eps * eps * q.A.matmul(q.A).matmul(q.A).norm().item<double>() * 100)
        << name;
    Tensor g = q.objective.value_and_gradient().second, x = q.objective.layout().theta();
    Tensor expected = -eps * q.A.matmul(q.b);  // A (x* + eps b) - b on the range of A, and 0 beyond
    EXPECT_LT((g + expected).norm().item<double>(), 1e-9 * q.b.norm().item<double>()) << name;
  }
}

TEST(Methods, hessian_free_solves_least_squares) {
  for (const auto& scales : {torch::ones({6}, f64()), torch::logspace(-2, 0.5, 6, 10, f64())}) {
    auto objective = testing::least_squares(scales);
    auto batch = objective.terms()[0].data.batch(0);
    const Tensor &X = batch.inputs[0].tensor, &y = batch.targets[0].tensor;
    Tensor w = std::get<0>(at::linalg_lstsq(X, y));
    double best = (X.matmul(w) - y).square().mean().item<double>();
    auto summary = minimize(objective, methods::hessian_free(), {.steps = 60, .gradient_norm = 1e-9});
    EXPECT_NEAR(summary.final_loss, best, 1e-9 * summary.initial_loss) << summary.message;
  }
}

std::vector<Method> newton_like() {
  std::vector<Method> methods{methods::newton_cg(), methods::newton_minres(), methods::trust_region(),
                              methods::cubic_newton(),
                              methods::newton({.scale = NewtonDamping::gradient_norm})};
  for (auto inverse : {NewtonInverse::absolute, NewtonInverse::damped, NewtonInverse::regularised,
                       NewtonInverse::corrected, NewtonInverse::pseudo})
    methods.push_back(methods::newton({.inverse = inverse, .regularizer = NewtonRegularizer::identity}));
  return methods;
}

TEST(Methods, newton_like_ones_end_on_quadratics) {
  for (const auto& [name, values] : spectra()) {
    for (const auto& method : newton_like()) {
      auto q = testing::quadratic(values);
      auto summary = minimize(q.objective, method, {.steps = 100, .gradient_norm = 1e-7});
      EXPECT_EQ(summary.reason, StopReason::gradient_norm) << name << ": " << summary.brief_report();
      EXPECT_NEAR(summary.final_loss, minimum(q), 1e-10) << name << ", " << method.name();
    }
  }
}

TEST(Methods, newton_like_ones_leave_saddles) {
  auto end = [](const Method& method) {
    Tensor x = torch::tensor({1.0, 1e-3}, f64()).requires_grad_();
    auto objective = Objective::function(
        {{"x", x}}, [=] { return x[0].square() / 2 - x[1].square() / 2 + x[1].pow(4) / 4; });
    return minimize(objective, method, {.steps = 200, .gradient_norm = 1e-6}).final_loss;
  };
  auto methods = newton_like();
  EXPECT_NEAR(end(methods.back()), 0, 1e-12);  // to the letter, Newton's step ends in the saddle
  methods.pop_back();
  for (const auto& method : methods) EXPECT_NEAR(end(method), -0.25, 1e-6) << method.name();
}

TEST(Methods, second_order_ones_find_the_end_of_rosenbrocks_valley) {
  auto all = quasi_newton_methods();
  for (auto& method : newton_like()) all.push_back(std::move(method));
  all.push_back(methods::hessian_free());
  all.push_back(methods::inverse_correction({.learning_rate = 1, .epsilon = 1e-6, .line_search = true}));
  for (const auto& method : all) {
    auto objective = testing::rosenbrock();
    auto summary = minimize(objective, method, {.steps = 500, .target = "loss<=1e-12"});
    EXPECT_EQ(summary.reason, StopReason::target) << summary.brief_report();
    EXPECT_LT((objective.layout().theta() - 1).abs().max().item<double>(), 1e-4) << method.name();
  }
}

// The sum over i of 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2, n = 100, from (-1.2, 1, -1.2, 1, ...).
TEST(Methods, quasi_newton_ones_find_the_end_of_a_long_valley) {
  for (const auto& method : quasi_newton_methods()) {
    Tensor x = torch::tensor({-1.2, 1.0}, f64()).repeat({50}).requires_grad_();
    auto objective = Objective::function({{"x", x}}, [x] {
      Tensor head = x.narrow(0, 0, 99), tail = x.narrow(0, 1, 99);
      return (100 * (tail - head * head).square() + (1 - head).square()).sum();
    });
    auto summary = minimize(objective, method, {.steps = 3000, .target = "loss<=1e-10"});
    EXPECT_EQ(summary.reason, StopReason::target) << summary.brief_report();
  }
}

TEST(Methods, all_train_a_small_network) {
  std::vector<Method> methods{
      methods::sgd({.learning_rate = 0.1}),
      methods::momentum({.learning_rate = 0.05}),
      methods::adam({.learning_rate = 0.02}),
      methods::adamw({.learning_rate = 0.02}),
      methods::rmsprop({.learning_rate = 0.01}),
      methods::muon({.adam_learning_rate = 0.02}),
      methods::soap({.learning_rate = 0.02}),
      methods::shampoo({.learning_rate = 0.02}),
      methods::adahessian(),
      methods::sophia({.learning_rate = 0.02, .gamma = 1}),
      methods::hessian_free(),
      methods::inverse_correction({.learning_rate = 0.5, .cutoff = 1e-3, .line_search = true})};
  for (auto& method : quasi_newton_methods()) methods.push_back(std::move(method));
  for (const auto& method : methods) {
    auto objective = testing::small_mlp();
    auto summary = minimize(objective, method, {.steps = 150});
    EXPECT_LT(summary.final_loss, 0.25 * summary.initial_loss) << summary.brief_report();
    EXPECT_DOUBLE_EQ(summary.final_loss, objective.value()) << method.name();
  }
}

TEST(Methods, newton_like_ones_train_a_small_network) {
  auto methods = newton_like();
  for (auto dtype : {at::kDouble, at::kFloat}) {
    for (const auto& method : methods) {
      Objective objective(testing::small_net(3, dtype), MeanSquaredError(),
                          testing::small_data().to(at::kCPU, dtype).full());
      auto summary = minimize(objective, method, {.steps = 40});
      bool pseudo = &method == &methods.back();  // slow: near-singular steps are long ones
      EXPECT_LT(summary.final_loss, (pseudo ? 0.5 : 0.01) * summary.initial_loss) << summary.brief_report();
      EXPECT_DOUBLE_EQ(summary.final_loss, objective.value()) << method.name();
    }
  }
}

TEST(Methods, second_order_ones_train_in_float32) {
  auto data = testing::small_data().to(at::kCPU, at::kFloat);
  for (const auto& method :
       {methods::lbfgs(), methods::hessian_free(),
        methods::inverse_correction({.learning_rate = 0.5, .cutoff = 1e-3, .line_search = true}),
        methods::inverse_correction({.learning_rate = 0.5, .rank = 8, .line_search = true})}) {
    Objective objective(testing::small_net(3, at::kFloat), MeanSquaredError(), data.full());
    auto summary = minimize(objective, method, {.steps = 150});
    EXPECT_LT(summary.final_loss, 0.25 * summary.initial_loss) << summary.brief_report();
    EXPECT_EQ(objective.layout().dtype(), at::kFloat);
  }
}

// Two data terms of different sizes over one set of parameters, by mini-batches of each.
TEST(Methods, train_on_several_terms) {
  for (const auto& method : {methods::adam({.learning_rate = 0.02}), methods::hessian_free()}) {
    Model model = testing::small_net();
    auto at_origin =
        model.with_forward([model](const Model::Inputs& x) { return model.forward({x[0] * 0}); });
    Tensor boundary = testing::normal({10, 2}, 21);
    Objective objective(
        {{model, MeanSquaredError(), testing::small_data().batches(12)},
         {at_origin, MeanSquaredError(), Dataset(boundary, torch::zeros({10, 1}, f64())).batches(5), 3}});
    Stepper stepper(objective, method, {.seed = 1});
    double start = objective.value();
    for (int i = 0; i < 200; ++i) EXPECT_EQ(stepper.step().examples, 12);
    EXPECT_LT(objective.value(), 0.3 * start) << method.name();
    EXPECT_EQ(stepper.epochs(), 50);
  }
}

}  // namespace
}  // namespace osculant
