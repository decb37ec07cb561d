#include "osculant/optim/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn.h>
#include <torch/optim.h>
#include <unistd.h>

#include <filesystem>

#include "osculant/base/testing.h"
#include "osculant/optim/methods.h"

namespace osculant {
namespace {

namespace nn = torch::nn;
using ::testing::HasSubstr;

struct Data {
  Tensor x, y;
  explicit Data(int64_t count = 64) {
    torch::manual_seed(1);
    x = at::randn({count, 3}, at::kDouble);
    y = at::randn({count, 2}, at::kDouble);
  }
  std::pair<Tensor, Tensor> batch(int64_t i, int64_t size = 16) const {
    int64_t begin = i * size % x.size(0);
    return {x.slice(0, begin, begin + size), y.slice(0, begin, begin + size)};
  }
};

nn::Sequential network() {
  torch::manual_seed(7);
  nn::Sequential net(nn::Linear(3, 8), nn::Tanh(), nn::Linear(8, 2));
  net->to(at::kDouble);
  return net;
}

Tensor all_of(const nn::Sequential& net) {
  std::vector<Tensor> flat;
  for (const auto& p : net->parameters()) flat.push_back(p.detach().flatten());
  return at::cat(flat).clone();
}

template <class Function>
std::string refusal(Function call) {
  return message_of(call, ErrorKind::usage);
}

TEST(Trainer, IsTorchsLoopForTorchsMethods) {
  Data data;
  auto ours = network(), theirs = network();
  Trainer trainer(ours, MeanSquaredError(), methods::adam({.learning_rate = 0.02}), {.examples = 64});
  torch::optim::Adam adam(theirs->parameters(), torch::optim::AdamOptions(0.02));
  for (int64_t i = 0; i < 10; ++i) {
    auto [x, y] = data.batch(i);
    auto record = trainer.step(x, y);
    adam.zero_grad();
    Tensor loss = torch::mse_loss(theirs->forward(x), y);
    loss.backward();
    adam.step();
    EXPECT_NEAR(record.loss_before, loss.item<double>(), 1e-12);
    EXPECT_EQ(record.step, i + 1);
    EXPECT_EQ(record.examples, 16);
    EXPECT_NEAR(record.epochs, (i + 1) / 4.0, 1e-12);
    EXPECT_NEAR(record.gradient_equivalents, (i + 1) / 4.0, 1e-12);
  }
  EXPECT_LT((all_of(ours) - all_of(theirs)).abs().max().item<double>(), 1e-12);
}

// Batches, a function that computes outputs and one that computes the loss are the same steps.
TEST(Trainer, FunctionsMakeTheStepsThatBatchesMake) {
  Data data;
  for (const char* name : {"adam", "lbfgs", "newton_cg"}) {
    SCOPED_TRACE(name);
    auto by_batch = network(), by_outputs = network(), by_loss = network();
    Trainer a(by_batch, MeanSquaredError(), make_method(name)),
        b(by_outputs, MeanSquaredError(), make_method(name)), c(by_loss, make_method(name));
    for (int64_t i = 0; i < 4; ++i) {
      auto [x, y] = data.batch(i);
      auto from_batch = a.step(x, y);
      auto from_outputs = b.step([&] { return by_outputs->forward(x); }, y);
      auto from_loss = c.step([&] { return torch::mse_loss(by_loss->forward(x), y); });
      EXPECT_NEAR(from_outputs.loss_before, from_batch.loss_before, 1e-10);
      EXPECT_NEAR(from_loss.loss_before, from_batch.loss_before, 1e-10);
      EXPECT_TRUE(from_batch.accepted == from_outputs.accepted && from_batch.accepted == from_loss.accepted);
    }
    EXPECT_LT((all_of(by_batch) - all_of(by_outputs)).abs().max().item<double>(), 1e-8);
    EXPECT_LT((all_of(by_batch) - all_of(by_loss)).abs().max().item<double>(), 1e-8);
  }
}

TEST(Trainer, EveryMethodThatTakesBatchesLowersTheLossOfALoopOfOnesOwn) {
  Data data;
  for (const auto& info : method_table()) {
    SCOPED_TRACE(info.name);
    auto net = network();
    Trainer trainer(net, MeanSquaredError(), info.make({}), {.examples = 64});
    auto loss = [&] { return torch::mse_loss(net->forward(data.x), data.y).item<double>(); };
    double before = loss();
    for (int64_t i = 0; i < 12; ++i) {
      auto [x, y] = data.batch(i, 32);
      trainer.step(x, y);
    }
    EXPECT_LT(loss(), before);
  }
}

TEST(Trainer, AClosureThatCallsBackwardIsToldHowToDoWithout) {
  Data data;
  auto net = network();
  Trainer trainer(net, methods::lbfgs());
  std::string message = refusal([&] {
    trainer.step([&] {
      Tensor loss = torch::mse_loss(net->forward(data.x), data.y);
      loss.backward();
      return loss;
    });
  });
  EXPECT_THAT(message, HasSubstr("called backward()"));
  EXPECT_THAT(message, HasSubstr("trainer.step([&] { return"));
}

TEST(Trainer, SaysWhatItCannotDo) {
  Data data;
  auto net = network();
  Trainer without(net, methods::adam());
  EXPECT_THAT(refusal([&] { without.step(data.x, data.y); }), HasSubstr("without a loss"));
  EXPECT_THAT(refusal([&] { without.save("nowhere"); }), HasSubstr("before the first step"));
  Trainer with(network(), MeanSquaredError(), methods::adam());
  EXPECT_THAT(refusal([&] { with.step([&] { return data.x.sum(); }); }), HasSubstr("with a loss of outputs"));
  EXPECT_THAT(refusal([&] { with.step(data.x.slice(0, 0, 0), data.y.slice(0, 0, 0)); }), HasSubstr("empty"));
  Trainer gauss_newton(net, methods::levenberg_marquardt());
  EXPECT_THAT(refusal([&] { gauss_newton.step([&] { return net->forward(data.x).square().sum(); }); }),
              HasSubstr("outputs"));
}

TEST(Trainer, GoesOnToTheSameBitsAfterLoad) {
  Data data;
  auto path = (std::filesystem::temp_directory_path() / ("trainer-" + std::to_string(getpid()))).string();
  auto steps = [&](Trainer& trainer, int64_t from, int64_t to) {
    for (int64_t i = from; i < to; ++i) {
      auto [x, y] = data.batch(i);
      trainer.step(x, y);
    }
  };
  for (const char* name : {"adam", "hessian_free"}) {
    auto whole = network(), rest = network();
    Trainer a(whole, MeanSquaredError(), make_method(name), {.examples = 64, .seed = 5});
    steps(a, 0, 3);
    a.save(path);
    steps(a, 3, 6);
    Trainer b(rest, MeanSquaredError(), make_method(name), {.seed = 5});
    b.load(path);
    EXPECT_EQ(b.steps(), 3);
    steps(b, 3, 6);
    EXPECT_TRUE(at::equal(all_of(whole), all_of(rest))) << name;
  }
  std::filesystem::remove(path);
}

TEST(Trainer, ALossThatIsNotFiniteLeavesTheParametersAlone) {
  Data data;
  auto net = network();
  Trainer trainer(net, MeanSquaredError(), methods::adam());
  trainer.step(data.x, data.y);
  Tensor before = all_of(net);
  auto record = trainer.step(data.x * std::nan(""), data.y);
  EXPECT_FALSE(record.finite || record.accepted);
  EXPECT_TRUE(at::equal(all_of(net), before));
  EXPECT_TRUE(trainer.step(data.x, data.y).accepted);
}

}  // namespace
}  // namespace osculant
