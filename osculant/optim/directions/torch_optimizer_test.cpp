#include "osculant/optim/directions/torch_optimizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/optim.h>

#include <cmath>

#include "osculant/optim/methods.h"
#include "osculant/optim/stepper.h"
#include "osculant/optim/testing.h"

namespace osculant {
namespace {

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

}  // namespace
}  // namespace osculant
