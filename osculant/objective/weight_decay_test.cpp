#include "osculant/objective/weight_decay.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include "osculant/base/testing.h"
#include "osculant/objective/linearization.h"

namespace osculant {
namespace {

at::TensorOptions f64() {
  return at::TensorOptions(at::kDouble);
}

// mean over i of (w'x_i + b - y_i)^2.
Objective regression() {
  torch::manual_seed(1);
  Tensor w = at::randn({3, 1}, f64()).requires_grad_(), b = at::randn({1}, f64()).requires_grad_();
  Model model({{"weight", w}, {"bias", b}},
              [w, b](const Model::Inputs& x) { return Model::Outputs{x[0].matmul(w) + b}; });
  return Objective(model, MeanSquaredError(),
                   Dataset(at::randn({20, 3}, f64()), at::randn({20, 1}, f64())).full());
}

TEST(WeightDecay, is_in_value_gradient_and_both_products) {
  Objective plain = regression();
  Objective decayed = plain.plus(weight_decay(0.5, {{"weight", 3}}));
  Tensor theta = plain.layout().theta().clone(), d = at::tensor({3.0, 3.0, 3.0, 0.5}, f64());
  Needs needs{.gradient = true, .hessian = true, .gauss_newton = true};
  auto a = plain.linearize(needs), b = decayed.linearize(needs);
  EXPECT_NEAR(b->value() - a->value(), 0.5 * (d * theta * theta).sum().item<double>(), 1e-13);
  EXPECT_TRUE(at::allclose(b->gradient() - a->gradient(), d * theta, 1e-12, 1e-13));
  Tensor V = at::randn({4, 2}, f64());
  EXPECT_TRUE(at::allclose(b->hessian_product(V) - a->hessian_product(V), d.unsqueeze(1) * V, 1e-12, 1e-12));
  EXPECT_TRUE(at::allclose(b->gauss_newton_product(V) - a->gauss_newton_product(V), d.unsqueeze(1) * V, 1e-12,
                           1e-12));
  // A linear model under MSE: the two matrices are one.
  EXPECT_TRUE(
      at::allclose(b->hessian_product(V[0].new_ones({4})), b->gauss_newton_product(at::ones({4}, f64()))));
}

TEST(WeightDecay, refuses_a_group_that_matches_nothing) {
  Objective objective = regression().plus(weight_decay(0, {{"weights", 1}}));
  EXPECT_EQ(message_of([&] { objective.value(); }, ErrorKind::usage),
            "parameter group \"weights\": matches no parameter");
  EXPECT_EQ(message_of([&] { weight_decay(-1); }, ErrorKind::usage), "weight_decay = -1: must be >= 0");
}

}  // namespace
}  // namespace osculant
