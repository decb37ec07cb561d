#include "osculant/model/model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/nn.h>

#include "osculant/base/testing.h"

namespace osculant {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> names(const std::vector<NamedTensor>& tensors) {
  std::vector<std::string> out;
  for (const auto& entry : tensors) out.push_back(entry.name);
  return out;
}

torch::nn::Sequential small_net() {
  torch::manual_seed(0);
  torch::nn::Sequential net(torch::nn::Linear(3, 4), torch::nn::BatchNorm1d(4), torch::nn::Linear(4, 2));
  net->to(at::kDouble);
  return net;
}

struct TwoInputs : torch::nn::Module {
  TwoInputs() { a = register_module("a", torch::nn::Linear(2, 3)); }
  Tensor forward(const Tensor& x, const Tensor& y) { return a(x) * y; }
  torch::nn::Linear a{nullptr};
};

struct Tied : torch::nn::Module {
  Tied() {
    torch::manual_seed(1);
    w = register_parameter("first", at::randn({3, 3}));
    register_parameter("second", w);
  }
  Tensor forward(const Tensor& x) { return x.mm(w).tanh().mm(w.t()); }
  Tensor w;
};

TEST(Model, ForwardIsTheModules) {
  auto net = small_net();
  net->eval();
  auto x = at::randn({5, 3}, at::kDouble);
  auto expected = net->forward(x);
  Model model(net);
  EXPECT_TRUE(at::equal(model.forward(Model::Inputs{x})[0], expected));
  EXPECT_EQ(model.parameters(), 3 * 4 + 4 + 4 + 4 + 4 * 2 + 2);
  model.layout().add(at::ones({model.parameters()}, at::kDouble), 0.1);
  EXPECT_TRUE(at::equal(model.forward(Model::Inputs{x})[0], net->forward(x)));
  EXPECT_FALSE(at::equal(model.forward(Model::Inputs{x})[0], expected));
}

TEST(Model, AnyModuleAndFunctions) {
  torch::nn::AnyModule any{torch::nn::Linear(3, 2)};
  auto x = at::randn({4, 3});
  EXPECT_TRUE(at::equal(Model(any).forward(Model::Inputs{x})[0], any.forward(x)));

  auto w = at::randn({3}, at::kDouble);
  Model function({{"w", w}}, [w](const Model::Inputs& in) -> Model::Outputs { return {in[0].mv(w)}; });
  auto y = function.forward(Model::Inputs{at::eye(3, at::kDouble)})[0];
  EXPECT_TRUE(y.requires_grad());
  EXPECT_TRUE(at::equal(y, w));
}

TEST(Model, InputsAreMatchedByOrder) {
  auto net = std::make_shared<TwoInputs>();
  Model model(net);
  auto x = at::randn({4, 2}), y = at::randn({4, 3});
  auto expected = net->forward(x, y);
  EXPECT_TRUE(at::equal(model.forward(Model::Inputs{x, y})[0], expected));
  EXPECT_TRUE(at::equal(model.forward(Batch{{{"", x}, {"", y}}, {}, {}})[0], expected));
  EXPECT_THAT(message_of([&] { model.forward(Model::Inputs{x}); }), HasSubstr("1 tensors"));
}

TEST(Model, FrozenParametersLeaveTheta) {
  Model model(small_net(), {"0.*"});
  EXPECT_THAT(names(model.frozen()), ElementsAre("0.weight", "0.bias"));
  EXPECT_EQ(model.parameters(), 4 + 4 + 8 + 2);
  auto out = model.forward(Model::Inputs{at::randn({5, 3}, at::kDouble)})[0].sum();
  auto gradient = torch::autograd::grad({out}, model.layout().leaves());
  EXPECT_EQ(gradient.size(), 4u);
  EXPECT_FALSE(model.frozen()[0].tensor.requires_grad());
  EXPECT_THAT(message_of([] { Model(small_net(), {"head.*"}); }, ErrorKind::usage),
              testing::AllOf(HasSubstr("head.*"), HasSubstr("0.weight")));
}

TEST(Model, BatchNormCouplesExamplesInTrainingMode) {
  Model model(small_net());
  EXPECT_TRUE(model.training());
  EXPECT_TRUE(model.couples_examples());
  model.train(false);
  EXPECT_FALSE(model.couples_examples());
  EXPECT_FALSE(Model(torch::nn::Linear(2, 2)).couples_examples());
}

TEST(Model, TiedWeightsAreOneParameterUnderEitherName) {
  auto net = std::make_shared<Tied>();
  Model model(net);
  EXPECT_EQ(model.parameters(), 9);
  EXPECT_THAT(names(model.state()), ElementsAre("first"));
  auto value = at::randn({3, 3});
  model.load_state({{"second", value}});
  EXPECT_TRUE(at::equal(net->w, value));
}

TEST(Model, LayersGroupParameters) {
  auto layers = Model(small_net(), {"2.bias"}).layers();
  ASSERT_EQ(layers.size(), 3u);
  EXPECT_EQ(layers[0].name, "0");
  EXPECT_THAT(layers[0].shape, ElementsAre(4, 3));
  EXPECT_EQ(layers[0].parameters, 16);
  EXPECT_EQ(layers[2].parameters, 8);
}

TEST(Model, StateRoundTrips) {
  Model a(small_net(), {"0.bias"}), b(small_net());
  b.layout().add(at::ones({b.parameters()}, at::kDouble));
  b.forward(Model::Inputs{at::randn({5, 3}, at::kDouble)});  // moves the running statistics
  auto epoch = a.layout().epoch();
  a.load_state(b.state());
  EXPECT_NE(a.layout().epoch(), epoch);
  a.layout().check();
  a.train(false);
  b.train(false);
  auto x = at::randn({5, 3}, at::kDouble);
  EXPECT_TRUE(at::equal(a.forward(Model::Inputs{x})[0], b.forward(Model::Inputs{x})[0]));
}

TEST(Model, StateThatDoesNotFitIsRefusedWhole) {
  Model model(small_net());
  auto theta = model.layout().theta().clone();
  std::vector<NamedTensor> state;
  for (const auto& [name, tensor] : model.state()) state.push_back({name, at::ones_like(tensor)});
  auto with = [&](auto change) {
    auto changed = state;
    change(changed);
    return message_of([&] { model.load_state(changed); });
  };
  EXPECT_THAT(with([](auto& s) { s.pop_back(); }), HasSubstr("missing"));
  EXPECT_THAT(with([](auto& s) {
                s.push_back({"0.wieght", at::ones({1})});
              }),
              HasSubstr("did you mean 0.weight?"));
  EXPECT_THAT(with([](auto& s) { s[0].tensor = at::ones({4, 2}); }), HasSubstr("[4, 2]"));
  EXPECT_THAT(with([](auto& s) { s[0].tensor = at::ones({4, 3}, at::kLong); }), HasSubstr("Long"));
  EXPECT_TRUE(at::equal(model.layout().theta(), theta));
}

TEST(Model, AnotherForwardSharesTheParameters) {
  auto net = std::make_shared<Tied>();
  Model model(net);
  auto derivative =
      model.with_forward([net](const Model::Inputs& x) -> Model::Outputs { return {x[0].mm(net->w)}; });
  EXPECT_EQ(&derivative.layout(), &model.layout());
  auto x = at::randn({2, 3});
  EXPECT_TRUE(at::equal(derivative.forward(Model::Inputs{x})[0], x.mm(net->w)));
  derivative.train(false);
  EXPECT_FALSE(model.training());
}

}  // namespace
}  // namespace osculant
