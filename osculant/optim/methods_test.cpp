#include "osculant/optim/methods.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "osculant/base/error.h"
#include "osculant/curvature/curvature.h"
#include "osculant/optim/minimizer.h"
#include "osculant/optim/testing.h"

namespace osculant {
namespace {

using testing::f64;

double minimum(const testing::Quadratic& q) {  // b'A^+ b: f* = -b'A^+ b / 2
  return -0.5 * q.b.dot(std::get<0>(at::linalg_lstsq(q.A, q.b.unsqueeze(1), 1e-12, "gelsd")).squeeze(1))
                    .item<double>();
}

// One proposal at the objective's theta.
Step propose(Direction& direction, const Objective& objective, double damping = 0) {
  auto linearization = objective.linearize(direction.needs());
  RandomStream random(0, "test");
  StepContext context{*linearization, *linearization, 1, random};
  direction.prepare(context);
  return direction.propose(context, Damping({.initial = damping}));
}

double relative_difference(const Tensor& a, const Tensor& b) {
  return ((a - b).norm() / b.norm()).item<double>();
}

// ---- quadratics ----

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
  std::vector<Method> methods{
      methods::sgd({.learning_rate = 0.05}), methods::momentum({.learning_rate = 0.02}),
      methods::adam({.learning_rate = 0.02}), methods::adamw({.learning_rate = 0.02, .weight_decay = 0}),
      methods::rmsprop({.learning_rate = 0.005})};
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

TEST(Methods, lbfgs_ends_on_quadratics) {
  for (const auto& [name, values] : spectra()) {
    auto q = testing::quadratic(values);
    auto summary = minimize(q.objective, methods::lbfgs(), {.steps = 300, .gradient_norm = 1e-8});
    EXPECT_EQ(summary.reason, StopReason::gradient_norm) << name << ": " << summary.message;
    EXPECT_NEAR(summary.final_loss, minimum(q), 1e-10) << name;
    // A step costs one evaluation of value and gradient unless the line search needs a second.
    EXPECT_LT(summary.gradient_equivalents, 1.6 * static_cast<double>(summary.steps) + 3) << name;
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

TEST(Methods, second_order_ones_find_the_end_of_rosenbrocks_valley) {
  for (const auto& method :
       {methods::lbfgs(), methods::hessian_free(),
        methods::inverse_correction({.learning_rate = 1, .epsilon = 1e-6, .line_search = true})}) {
    auto objective = testing::rosenbrock();
    auto summary = minimize(objective, method, {.steps = 500, .target = "loss<=1e-12"});
    EXPECT_EQ(summary.reason, StopReason::target) << summary.brief_report();
    EXPECT_LT((objective.layout().theta() - 1).abs().max().item<double>(), 1e-4) << method.name();
  }
}

TEST(Methods, all_train_a_small_network) {
  std::vector<Method> methods{
      methods::sgd({.learning_rate = 0.1}),
      methods::momentum({.learning_rate = 0.05}),
      methods::adam({.learning_rate = 0.02}),
      methods::adamw({.learning_rate = 0.02}),
      methods::rmsprop({.learning_rate = 0.01}),
      methods::lbfgs(),
      methods::hessian_free(),
      methods::inverse_correction({.learning_rate = 0.5, .cutoff = 1e-3, .line_search = true})};
  for (const auto& method : methods) {
    auto objective = testing::small_mlp();
    auto summary = minimize(objective, method, {.steps = 150});
    EXPECT_LT(summary.final_loss, 0.25 * summary.initial_loss) << summary.brief_report();
    EXPECT_DOUBLE_EQ(summary.final_loss, objective.value()) << method.name();
  }
}

TEST(Methods, second_order_ones_train_in_float32) {
  auto data = testing::small_data().to(at::kCPU, at::kFloat);
  for (const auto& method :
       {methods::lbfgs(), methods::hessian_free(),
        methods::inverse_correction({.learning_rate = 0.5, .cutoff = 1e-3, .line_search = true}),
        methods::inverse_correction({.learning_rate = 0.5, .rank = 8, .line_search = true})}) {
    auto net = testing::small_net();
    net->to(torch::kFloat32);
    Objective objective(net, MeanSquaredError(), data.full());
    auto summary = minimize(objective, method, {.steps = 150});
    EXPECT_LT(summary.final_loss, 0.25 * summary.initial_loss) << summary.brief_report();
    EXPECT_EQ(objective.layout().dtype(), at::kFloat);
  }
}

// Two data terms of different sizes over one set of parameters, by mini-batches of each.
TEST(Methods, train_on_several_terms) {
  for (const auto& method : {methods::adam({.learning_rate = 0.02}), methods::hessian_free()}) {
    auto net = testing::small_net();
    Model model(net);
    auto at_origin = model.with_forward(
        [net](const Model::Inputs& x) mutable -> Model::Outputs { return {net->forward(x[0] * 0)}; });
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

// ---- lbfgs ----

class LbfgsDirection : public ::testing::Test {
 protected:
  LbfgsDirection() : q(testing::quadratic(torch::linspace(0.5, 6, 7, f64()))) {}

  Tensor gradient_at(const Tensor& x) const { return q.A.matmul(x) - q.b; }

  // Moves theta by s and tells the direction of a gradient that changed by y.
  void move(Direction& direction, const Tensor& s, const Tensor& y) {
    q.objective.layout().add(s);
    StepOutcome outcome;
    outcome.accepted = true;
    outcome.displacement = s;
    outcome.new_gradient = last + y;
    direction.accepted(outcome);
  }

  Step at_theta(Direction& direction) {
    last = gradient_at(q.objective.layout().theta());
    return propose(direction, q.objective);
  }

  testing::Quadratic q;
  Tensor last;
};

// H+ = (I - s y'/s'y) H (I - y s'/s'y) + s s'/s'y (Nocedal & Wright 2006, 6.17) from H = s'y / y'y of the
// last pair.
TEST_F(LbfgsDirection, is_the_dense_bfgs_matrix_of_its_pairs) {
  auto direction = lbfgs_direction({.memory = 3});
  std::vector<Tensor> S;
  at_theta(*direction);
  for (uint64_t i = 0; i < 5; ++i) {
    S.push_back(testing::normal({7}, 40 + i));
    move(*direction, S.back(), q.A.matmul(S.back()));
    at_theta(*direction);
  }
  Tensor I = torch::eye(7, f64()), H;
  for (size_t i = 2; i < 5; ++i) {  // memory 3: the last three pairs
    Tensor s = S[i], y = q.A.matmul(s), r = 1 / s.dot(y);
    if (!H.defined()) H = I * (S[4].dot(q.A.matmul(S[4])) / q.A.matmul(S[4]).square().sum());
    Tensor left = I - r * s.outer(y);
    H = left.matmul(H).matmul(left.t()) + r * s.outer(s);
  }
  auto step = propose(*direction, q.objective);
  EXPECT_LT(relative_difference(step.displacement, -H.matmul(last)), 1e-12);
}

TEST_F(LbfgsDirection, says_when_it_leaves_out_a_pair_or_starts_again) {
  auto direction = lbfgs_direction({});
  auto first = at_theta(*direction);
  Tensor s = testing::normal({7}, 50);
  move(*direction, s, -s);  // negative curvature
  auto second = at_theta(*direction);
  EXPECT_THAT(second.note, ::testing::HasSubstr("pair left out"));
  EXPECT_LT(relative_difference(second.displacement / second.displacement.norm(), -last / last.norm()),
            1e-12);
  move(*direction, s, q.A.matmul(s));
  EXPECT_EQ(at_theta(*direction).note, "");
  direction->rejected({});
  auto again = at_theta(*direction);
  EXPECT_THAT(again.note, ::testing::HasSubstr("memory emptied"));
  EXPECT_LT(relative_difference(again.displacement / again.displacement.norm(), -last / last.norm()), 1e-12);
}

// ---- torch's ----

template <class Optimizer, class Options>
void expect_torchs_bits(const Method& method, Options options) {
  auto objective = testing::small_mlp();
  Stepper stepper(objective, method, {.batch_size = full_batch});
  Tensor point = objective.layout().theta().clone().requires_grad_();
  Optimizer optimizer(std::vector<Tensor>{point}, options);
  for (int i = 0; i < 20; ++i) {
    point.mutable_grad() = objective.value_and_gradient().second;
    optimizer.step();
    ASSERT_TRUE(stepper.step().accepted);
    ASSERT_TRUE(objective.layout().theta().equal(point.detach())) << method.name() << ", step " << i + 1;
  }
}

TEST(Methods, torchs_optimizers_keep_their_bits) {
  using namespace torch::optim;
  expect_torchs_bits<SGD>(methods::sgd({.learning_rate = 0.1, .weight_decay = 0.01}),
                          SGDOptions(0.1).weight_decay(0.01));
  expect_torchs_bits<SGD>(methods::momentum({.learning_rate = 0.1, .momentum = 0.8, .nesterov = true}),
                          SGDOptions(0.1).momentum(0.8).nesterov(true));
  expect_torchs_bits<Adam>(
      methods::adam({.learning_rate = 0.01, .beta1 = 0.8, .beta2 = 0.99, .amsgrad = true}),
      torch::optim::AdamOptions(0.01).betas({0.8, 0.99}).amsgrad(true));
  expect_torchs_bits<AdamW>(methods::adamw({.learning_rate = 0.01, .weight_decay = 0.1}),
                            torch::optim::AdamWOptions(0.01).weight_decay(0.1));
  expect_torchs_bits<RMSprop>(methods::rmsprop({.learning_rate = 0.01, .momentum = 0.5, .centered = true}),
                              RMSpropOptions(0.01).momentum(0.5).centered(true));
}

// ---- hessian_free ----

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
  Stepper stepper(exact, methods::hessian_free({.damping = 1}));
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
  Stepper other(hard, methods::hessian_free({.damping = 1e-4}));
  double largest = 0;
  for (int i = 0; i < 20; ++i) largest = std::max(largest, other.step().damping);
  EXPECT_GE(largest, 1.5e-4);
}

TEST(HessianFree, never_goes_up_on_the_full_batch) {
  auto objective = testing::small_mlp();
  Stepper stepper(objective, methods::hessian_free({.damping = 1e-3}));
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
  Stepper stepper(objective, methods::hessian_free({.damping = 1e-3}));
  double start = objective.value();
  bool negative = false;
  for (int i = 0; i < 60; ++i) negative |= stepper.step().solver_stop.find("<= 0") != std::string::npos;
  EXPECT_TRUE(negative);
  EXPECT_LT(objective.value(), 0.5 * start);
}

// ---- inverse_correction ----

// 2-4-1, ReLU: the article's network, one unit of it dead, so that four rows of the Hessian are zero.
Objective article_network() {
  torch::manual_seed(1);
  torch::nn::Sequential net(torch::nn::Linear(2, 4), torch::nn::ReLU(), torch::nn::Linear(4, 1));
  net->to(torch::kFloat64);
  {
    torch::NoGradGuard no_grad;
    net[0]->as<torch::nn::Linear>()->bias[3] = -100;
  }
  return Objective(net, MeanSquaredError(), testing::small_data().full());
}

// The gradient and Hessian of `value` in the leaves, by double backward alone.
std::pair<Tensor, Tensor> derivatives(const Tensor& value, const std::vector<Tensor>& leaves) {
  auto flat = [](const std::vector<Tensor>& parts) {
    std::vector<Tensor> rows;
    for (const auto& part : parts) rows.push_back(part.reshape({-1}));
    return torch::cat(rows);
  };
  Tensor g = flat(torch::autograd::grad({value}, leaves, {}, true, true));
  std::vector<Tensor> rows;
  for (int64_t i = 0; i < g.numel(); ++i) {
    auto row = torch::autograd::grad({g[i]}, leaves, {}, true, false, true);
    for (size_t j = 0; j < row.size(); ++j)
      if (!row[j].defined()) row[j] = torch::zeros_like(leaves[j]);
    rows.push_back(flat(row));
  }
  return {g.detach(), torch::stack(rows)};
}

TEST(InverseCorrection, is_the_articles_formula) {
  double eta = 0.01, eps = 0.01;
  for (auto mode : {CurvatureMode::signed_values, CurvatureMode::absolute, CurvatureMode::positive}) {
    auto objective = article_network();
    const auto& term = objective.terms()[0];
    auto batch = term.data.batch(0);
    Tensor value = torch::mse_loss(term.model.forward(batch)[0], batch.targets[0].tensor);
    auto [g, H] = derivatives(value, objective.layout().leaves());
    auto [l, V] = at::linalg_eigh((H + H.t()) / 2);
    double tau = static_cast<double>(l.numel()) * 2.220446049250313e-16 * l.abs().max().item<double>();
    Tensor expected = objective.layout().theta().clone();
    int64_t inverted = 0;
    for (int64_t i = 0; i < l.numel(); ++i) {
      double li = l[i].item<double>();
      bool kept = mode == CurvatureMode::positive ? li > tau : std::abs(li) > tau;
      if (mode == CurvatureMode::absolute) li = std::abs(li);
      inverted += kept;
      expected -= eta * ((kept ? 1 / li : 0.0) + eps) * V.select(1, i).dot(g) * V.select(1, i);
    }
    EXPECT_GT(inverted, 4);
    EXPECT_LE(inverted, l.numel() - 4);
    Stepper stepper(objective,
                    methods::inverse_correction({.learning_rate = eta, .epsilon = eps, .curvature = mode}));
    auto record = stepper.step();
    ASSERT_TRUE(record.accepted);
    EXPECT_LT(relative_difference(objective.layout().theta(), expected), 1e-12);
    EXPECT_EQ(record.solver_iterations, 17);  // products: one a column
  }
}

// f = (x^2 - y^2) / 2 at (1, 0.5): the signed inverse goes to the saddle, against the slope in y.
TEST(InverseCorrection, climbs_at_a_saddle_when_signed_and_epsilon_is_small) {
  auto y_after = [](CurvatureMode mode, double epsilon) {
    Tensor p = torch::tensor({1.0, 0.5}, f64()).requires_grad_();
    auto objective = Objective::function({{"p", p}}, [p] { return (p[0] * p[0] - p[1] * p[1]) / 2; });
    Stepper stepper(objective, methods::inverse_correction(
                                   {.learning_rate = 0.1, .epsilon = epsilon, .curvature = mode}));
    stepper.step();
    return objective.layout().theta()[1].item<double>();
  };
  EXPECT_NEAR(y_after(CurvatureMode::signed_values, 0.1), 0.5 * (1 - 0.1 * 0.9),
              1e-15);  // up: eps < 1/abs(l) = 1
  EXPECT_NEAR(y_after(CurvatureMode::signed_values, 2), 0.5 * (1 + 0.1 * 1), 1e-15);  // down: eps > 1
  EXPECT_NEAR(y_after(CurvatureMode::absolute, 0.1), 0.5 * (1 + 0.1 * 1.1), 1e-15);
  EXPECT_NEAR(y_after(CurvatureMode::positive, 0.1), 0.5 * (1 + 0.1 * 0.1), 1e-15);
}

TEST(InverseCorrection, takes_the_dominant_part_at_low_rank) {
  int64_t n = 260, k = 6;
  auto values = torch::cat({torch::tensor({90.0, 70.0, -60.0, 50.0, 40.0, 30.0}, f64()),
                            torch::linspace(-0.5, 0.5, n - k, f64())});
  auto q = testing::quadratic(values);
  auto [l, V] = at::linalg_eigh(q.A);
  auto order = l.abs().argsort(-1, true).slice(0, 0, k);
  Tensor g = -q.b, Vk = V.index_select(1, order), lk = l.index_select(0, order).abs();
  auto direction = inverse_correction_direction({.epsilon = 0.02, .rank = k}, n);
  auto step = propose(*direction, q.objective);
  Tensor expected = -(Vk.matmul(Vk.t().matmul(g) / lk) + 0.02 * g);
  EXPECT_LT(relative_difference(step.displacement, expected), 2e-3);
  EXPECT_LT(step.solver_iterations, n / 2);  // products, far fewer than columns
}

TEST(InverseCorrection, refreshes_when_told) {
  auto q = testing::quadratic(torch::linspace(0.1, 8, 30, f64()));
  Stepper stepper(q.objective, methods::inverse_correction({.rank = 4, .refresh = 3}));
  std::vector<bool> factorised;
  for (int i = 0; i < 7; ++i) factorised.push_back(stepper.step().solver_iterations > 0);
  EXPECT_EQ(factorised, (std::vector<bool>{true, false, false, true, false, false, true}));
}

TEST(InverseCorrection, refuses_a_dense_hessian_that_is_too_large) {
  EXPECT_THROW(inverse_correction_direction({.rank = full_rank}, 6000), Error);
  EXPECT_EQ(resolved_rank({}, 500), 500);
  EXPECT_EQ(resolved_rank({}, 501), 20);
  EXPECT_EQ(resolved_rank({.rank = 50}, 30), 30);
}

}  // namespace
}  // namespace osculant
