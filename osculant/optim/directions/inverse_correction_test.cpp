#include "osculant/optim/directions/inverse_correction.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <cmath>

#include "osculant/base/error.h"
#include "osculant/optim/methods.h"
#include "osculant/optim/minimizer.h"
#include "osculant/optim/stepper.h"
#include "osculant/optim/testing.h"

namespace osculant {
namespace {

using testing::f64;
using testing::propose;
using testing::relative_difference;

// 2-4-1, ReLU: the article's network, one unit of it dead, so that four rows of the Hessian are zero.
Objective article_network() {
  Tensor W = testing::normal({4, 2}, 21).requires_grad_(), b = testing::normal({4}, 22),
         V = testing::normal({1, 4}, 23).requires_grad_(), c = testing::normal({1}, 24).requires_grad_();
  b[3] = -100;
  b.requires_grad_();
  Model net({{"0.weight", W}, {"0.bias", b}, {"2.weight", V}, {"2.bias", c}},
            [=](const Model::Inputs& x) -> Model::Outputs {
              return {at::linear(at::relu(at::linear(x[0], W, b)), V, c)};
            });
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

// One step of it, signed, eta = eps = 0.01, on a 2-4-1 ReLU network with a dead unit: gradient and Hessian
// from their formulas by hand, eigenpairs to 50 digits by mpmath. Eleven eigenvalues from -1.72 to 5.77, six
// zeros.
TEST(InverseCorrection, is_the_articles_formula_to_fifteen_digits) {
  Tensor W = torch::tensor({{0.8, -0.5}, {-0.3, 0.9}, {0.6, 0.7}, {0.4, 0.2}}, f64()).requires_grad_(),
         b = torch::tensor({0.1, -0.2, 0.3, -5.0}, f64()).requires_grad_(),
         V = torch::tensor({{0.7, -1.1, 0.4, 0.9}}, f64()).requires_grad_(),
         c = torch::tensor({0.25}, f64()).requires_grad_();
  Model net({{"W", W}, {"b", b}, {"V", V}, {"c", c}}, [=](const Model::Inputs& x) -> Model::Outputs {
    return {at::linear(at::relu(at::linear(x[0], W, b)), V, c)};
  });
  Tensor x =
      torch::tensor({{0.5, -1.0}, {1.0, 0.25}, {-0.75, 0.5}, {-0.5, -0.25}, {0.9, 0.8}, {-1.0, 1.0}}, f64());
  Tensor y = torch::tensor({{0.3}, {-0.6}, {1.2}, {0.5}, {-0.4}, {0.8}}, f64());
  Objective objective(net, MeanSquaredError(), Dataset(x, y).full());
  Stepper stepper(objective,
                  methods::inverse_correction(
                      {.learning_rate = 0.01, .epsilon = 0.01, .curvature = CurvatureMode::signed_values}));
  EXPECT_NEAR(stepper.step().loss_before, 1.5793505833333333, 1e-15);
  Tensor expected =
      torch::tensor({0.79790173640439588, -0.50383670484467889, -0.29902474254309388, 0.9037749602697292,
                     0.59722083475482438, 0.6985665579465692, 0.4, 0.2, 0.099154017378424436,
                     -0.20635088208917099, 0.30125124406223084, -5.0, 0.69654692730083866,
                     -1.0946473404251274, 0.39798242254095542, 0.9, 0.24854150435781456},
                    f64());
  EXPECT_LT((objective.layout().theta() - expected).abs().max().item<double>(), 1e-15);
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
  auto direction =
      inverse_correction_direction({.learning_rate = 1, .epsilon = 0.02, .rank = k}, q.objective);
  auto step = propose(*direction, q.objective);
  Tensor expected = -(Vk.matmul(Vk.t().matmul(g) / lk) + 0.02 * g);
  EXPECT_LT(relative_difference(step.displacement, expected), 2e-3);
  EXPECT_LT(step.solver_iterations, n / 2);  // products, far fewer than columns
}

TEST(InverseCorrection, refreshes_when_told) {
  auto q = testing::quadratic(torch::linspace(0.1, 8, 30, f64()));
  Stepper stepper(q.objective, methods::inverse_correction({.learning_rate = 0.01, .rank = 4, .refresh = 3}));
  std::vector<bool> factorised;
  for (int i = 0; i < 7; ++i) factorised.push_back(stepper.step().solver_iterations > 0);
  EXPECT_EQ(factorised, (std::vector<bool>{true, false, false, true, false, false, true}));
}

TEST(InverseCorrection, refuses_a_dense_hessian_that_is_too_large) {
  Tensor x = at::zeros({6000}, f64()).requires_grad_();
  auto objective = Objective::function({{"x", x}}, [x] { return x.dot(x); });
  EXPECT_THROW(inverse_correction_direction({.rank = full_rank}, objective), Error);
  EXPECT_EQ(resolved_rank({}, 500), 500);
  EXPECT_EQ(resolved_rank({}, 501), 20);
  EXPECT_EQ(resolved_rank({.rank = 50}, 30), 30);
}

// The step in closed form from dense matrices: y = argmin g'P y + y'(P'G P + delta I) y / 2 at unit columns,
// y >= 0.
Tensor dense_closed_form(const Tensor& G, const Tensor& g, Tensor p1, Tensor p2, double delta) {
  p1 = p1 / p1.norm();
  p2 = p2 / p2.norm();
  Tensor P = at::stack({p1, p2}, 1);
  Tensor y = -at::linalg_solve(P.t().matmul(G).matmul(P) + delta * at::eye(2, f64()), P.t().matmul(g));
  if (y.min().item<double>() < 0) {
    // One of them alone, whichever is better.
    auto alone = [&](const Tensor& p) {
      double slope = g.dot(p).item<double>(), c = p.dot(G.matmul(p)).item<double>() + delta;
      return std::pair(slope < 0 ? -slope * slope / c : 0.0, p * std::max(0.0, -slope / c));
    };
    auto a = alone(p1), b = alone(p2);
    return a.first < b.first ? a.second : b.second;
  }
  return P.matmul(y);
}

TEST(InverseCorrection, finds_eta_and_epsilon_in_closed_form) {
  auto objective = testing::small_mlp();
  auto linearization = objective.linearize({.gradient = true, .gauss_newton = true});
  Tensor G = linearization->gauss_newton_product(at::eye(objective.parameters(), f64()));
  const Tensor& g = linearization->gradient();
  auto [l, V] = at::linalg_eigh((G + G.t()) / 2);
  double delta = 1e-3, tau = static_cast<double>(l.numel()) * 2.3e-16 * l.max().item<double>();
  Tensor f = at::where(l > tau, 1 / (l + delta), at::zeros_like(l));
  Tensor p1 = -V.matmul(f * V.t().matmul(g));

  auto direction = inverse_correction_direction({}, objective);
  auto step = propose(*direction, objective, delta);
  EXPECT_LT(relative_difference(step.displacement, dense_closed_form(G, g, p1, -g, delta)), 1e-7);
  double model =
      (g.dot(step.displacement) + step.displacement.dot(G.matmul(step.displacement)) / 2).item<double>();
  EXPECT_NEAR(step.predicted_change, model, 1e-12);
}

TEST(InverseCorrection, gives_the_complement_to_adam) {
  auto objective = testing::small_mlp();
  int64_t k = 3;
  auto linearization = objective.linearize({.gradient = true, .gauss_newton = true});
  Tensor G = linearization->gauss_newton_product(at::eye(objective.parameters(), f64()));
  const Tensor& g = linearization->gradient();
  auto [all, vectors] = at::linalg_eigh((G + G.t()) / 2);
  int64_t n = all.numel();
  Tensor l = all.narrow(0, n - k, k), V = vectors.narrow(1, n - k, k);
  double delta = 1e-3;
  // After one gradient Adam's corrected moments are m = g and D = abs(g).
  auto off = [&](const Tensor& x) { return x - V.matmul(V.t().matmul(x)); };
  Tensor p1 = -V.matmul(V.t().matmul(g) / (l + delta)), p2 = -off(off(g) / (g.abs() + 1e-8));
  Tensor expected = dense_closed_form(G, g, p1, p2, delta);
  for (auto method : {LowRankMethod::svd, LowRankMethod::lanczos}) {
    auto direction = inverse_correction_direction(
        {.complement = Complement::adam, .rank = k, .method = method}, objective);
    auto step = propose(*direction, objective, delta);
    EXPECT_LT(relative_difference(step.displacement, expected), method == LowRankMethod::svd ? 1e-8 : 2e-2);
  }
}

TEST(InverseCorrection, needs_no_learning_rate) {
  for (auto complement : {Complement::none, Complement::sgd, Complement::adam, Complement::rmsprop}) {
    for (int64_t rank : {int64_t{4}, full_rank}) {
      auto objective = testing::small_mlp();
      auto method = methods::inverse_correction({.complement = complement, .rank = rank});
      auto summary = minimize(objective, method, {.steps = 150});
      EXPECT_LT(summary.final_loss, 5e-3 * summary.initial_loss) << int(complement) << ", rank " << rank;
    }
  }
}

TEST(InverseCorrection, takes_any_factorisation) {
  for (auto how :
       {LowRankMethod::svd, LowRankMethod::qr, LowRankMethod::randomized_svd, LowRankMethod::randomized_qr,
        LowRankMethod::nystrom, LowRankMethod::indefinite_nystrom, LowRankMethod::lanczos}) {
    for (bool warm : {true, false}) {
      auto objective = testing::small_mlp();
      auto method = methods::inverse_correction({.rank = 5, .method = how, .warm_start = warm});
      auto summary = minimize(objective, method, {.steps = 60});
      EXPECT_LT(summary.final_loss, 0.02 * summary.initial_loss) << to_string(how);
    }
  }
}

}  // namespace
}  // namespace osculant
