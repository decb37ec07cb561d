#include "osculant/optim/torch_optimizers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn.h>
#include <torch/optim.h>
#include <torch/serialize.h>

#include <cmath>
#include <sstream>

#include "osculant/base/error.h"

namespace osculant {
namespace {

namespace nn = torch::nn;

nn::Sequential network() {
  torch::manual_seed(7);
  nn::Sequential net(nn::Linear(3, 8), nn::Tanh(), nn::Linear(8, 2));
  net->to(at::kDouble);
  return net;
}

Tensor inputs() {
  torch::manual_seed(1);
  return at::randn({20, 3}, at::kDouble);
}

template <class Optimizer>
void steps_of(nn::Sequential net, Optimizer& optimizer, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    optimizer.zero_grad();
    net->forward(inputs()).sub(1).square().mean().backward();
    optimizer.step();
  }
}

double apart(const nn::Sequential& a, const nn::Sequential& b) {
  double most = 0;
  for (size_t i = 0; i < a->parameters().size(); ++i)
    most = std::max(most, (a->parameters()[i] - b->parameters()[i]).abs().max().template item<double>());
  return most;
}

TEST(TorchOptimizers, StepAsTorchsOwnUnderItsSchedulers) {
  auto ours = network(), theirs = network();
  optim::AdamW mine(ours->parameters(), {.learning_rate = 0.01, .weight_decay = 0.1});
  torch::optim::AdamW adamw(theirs->parameters(), torch::optim::AdamWOptions(0.01).weight_decay(0.1));
  torch::optim::StepLR my_schedule(mine, 2, 0.5), their_schedule(adamw, 2, 0.5);
  for (int i = 0; i < 6; ++i) {
    steps_of(ours, mine, 1);
    steps_of(theirs, adamw, 1);
    my_schedule.step();
    their_schedule.step();
  }
  EXPECT_EQ(mine.param_groups()[0].options().get_lr(), adamw.param_groups()[0].options().get_lr());
  EXPECT_LT(mine.param_groups()[0].options().get_lr(), 0.005);
  EXPECT_LT(apart(ours, theirs), 1e-12);
}

TEST(TorchOptimizers, SeeALayersMatrixAsOne) {
  auto left = [](auto make) {
    auto net = network();
    auto optimizer = make(net->parameters());
    auto loss = [&] { return net->forward(inputs()).sub(1).square().mean().template item<double>(); };
    double start = loss();
    steps_of(net, optimizer, 60);
    return loss() / start;
  };
  EXPECT_LT(left([](auto p) { return optim::Muon(p, {.adam_learning_rate = 0.02}); }), 0.05);
  EXPECT_LT(left([](auto p) { return optim::Soap(p, {.learning_rate = 0.02}); }), 0.05);
  EXPECT_LT(left([](auto p) { return optim::Shampoo(p, {.learning_rate = 0.02}); }), 0.05);
}

TEST(TorchOptimizers, GroupsHaveRatesOfTheirOwn) {
  auto ours = network(), theirs = network();
  auto groups = [](const nn::Sequential& net, auto slow) {
    std::vector<torch::optim::OptimizerParamGroup> groups;
    auto p = net->parameters();
    groups.emplace_back(std::vector<Tensor>{p[0], p[1]});
    groups.emplace_back(std::vector<Tensor>{p[2], p[3]}, std::move(slow));
    return groups;
  };
  optim::Sgd mine(groups(ours, std::make_unique<optim::GradientOptimizer::Rate>(0.001)),
                  {.learning_rate = 0.1});
  torch::optim::SGD sgd(groups(theirs, std::make_unique<torch::optim::SGDOptions>(0.001)),
                        torch::optim::SGDOptions(0.1));
  steps_of(ours, mine, 5);
  steps_of(theirs, sgd, 5);
  EXPECT_LT(apart(ours, theirs), 1e-12);
}

TEST(TorchOptimizers, AClosureIsCalledWithGradientsOn) {
  auto net = network();
  optim::Adam optimizer(net->parameters(), {.learning_rate = 0.05});
  auto closure = [&] {
    optimizer.zero_grad();
    Tensor loss = net->forward(inputs()).sub(1).square().mean();
    loss.backward();
    return loss;
  };
  torch::NoGradGuard outside;
  double first = optimizer.step(closure).item<double>(), last = first;
  for (int i = 0; i < 30; ++i) last = optimizer.step(closure).item<double>();
  EXPECT_LT(last, 0.5 * first);
}

TEST(TorchOptimizers, SaveAndLoadAsTorchsOwn) {
  auto whole = network(), rest = network();
  optim::Adam first(whole->parameters(), {.learning_rate = 0.02});
  steps_of(whole, first, 4);
  std::stringstream model, state;
  torch::save(whole, model);
  torch::save(first, state);
  steps_of(whole, first, 3);
  torch::load(rest, model);
  optim::Adam second(rest->parameters(), {.learning_rate = 0.5});
  torch::load(second, state);
  EXPECT_EQ(second.steps(), 4);
  EXPECT_EQ(second.param_groups()[0].options().get_lr(), 0.02);
}

TEST(TorchOptimizers, GoOnToTheSameBitsAfterLoad) {
  auto whole = network(), rest = network();
  optim::Adam first(whole->parameters()), second(rest->parameters());
  steps_of(whole, first, 4);
  steps_of(rest, second, 4);
  std::stringstream state;
  torch::save(first, state);
  optim::Adam third(rest->parameters());
  torch::load(third, state);
  steps_of(whole, first, 3);
  steps_of(rest, third, 3);
  EXPECT_EQ(apart(whole, rest), 0);
}

TEST(TorchOptimizers, GradientsThatAreNotFiniteLeaveNoTrace) {
  auto ours = network(), undisturbed = network();
  optim::Adam mine(ours->parameters()), other(undisturbed->parameters());
  steps_of(ours, mine, 2);
  steps_of(undisturbed, other, 2);
  for (auto& p : ours->parameters()) p.mutable_grad().fill_(std::nan(""));
  mine.step();
  EXPECT_EQ(mine.skipped(), 1);
  steps_of(ours, mine, 2);
  steps_of(undisturbed, other, 2);
  EXPECT_EQ(apart(ours, undisturbed), 0);
}

TEST(TorchOptimizers, ParametersWithoutAGradientStay) {
  auto net = network();
  Tensor before = net->parameters()[0].detach().clone();
  optim::AdamW optimizer(net->parameters());
  net->parameters()[2].square().sum().backward();
  optimizer.step();
  EXPECT_TRUE(at::equal(net->parameters()[0], before));
}

TEST(TorchOptimizers, MethodsThatNeedMoreAreSentToTheTrainer) {
  auto net = network();
  auto groups = [&] { return std::vector<torch::optim::OptimizerParamGroup>{net->parameters()}; };
  for (const char* name : {"hessian_free", "lbfgs", "levenberg_marquardt"}) {
    try {
      optim::GradientOptimizer(groups(), make_method(name), 1);
      ADD_FAILURE() << name;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), ::testing::HasSubstr("osculant::Trainer")) << name;
    }
  }
}

}  // namespace
}  // namespace osculant
