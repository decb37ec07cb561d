#include "osculant/model/zoo.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include "osculant/base/testing.h"

namespace osculant {
namespace {

TEST(Zoo, MlpIsTheChainOfItsLayers) {
  auto model = mlp({.widths = {4, 5, 3}, .activation = Activation::tanh, .dtype = at::kDouble});
  ASSERT_EQ(model.parameters(), 4 * 5 + 5 + 5 * 3 + 3);
  auto leaves = model.layout().leaves();
  auto x = at::linspace(-1, 1, 8, at::kDouble).view({2, 4});
  auto expected = at::tanh(x.mm(leaves[0].t()) + leaves[1]).mm(leaves[2].t()) + leaves[3];
  EXPECT_TRUE(at::allclose(model.forward(Model::Inputs{x})[0], expected, 1e-13, 1e-13));
  EXPECT_TRUE(
      at::equal(model.forward(Model::Inputs{x.view({2, 2, 2})})[0], model.forward(Model::Inputs{x})[0]));
  std::vector<std::string> names;
  for (const auto& p : model.layout().parameters()) names.push_back(p.name);
  EXPECT_THAT(names, testing::ElementsAre("0.weight", "0.bias", "2.weight", "2.bias"));
}

TEST(Zoo, AutoencoderMirrorsItsEncoderRoundALinearCode) {
  auto model = autoencoder();  // 196-100-50-20-6-20-50-100-196
  std::vector<int64_t> widths{196, 100, 50, 20, 6, 20, 50, 100, 196};
  int64_t n = 0;
  for (size_t i = 1; i < widths.size(); ++i) n += (widths[i - 1] + 1) * widths[i];
  EXPECT_EQ(model.parameters(), n);
  EXPECT_EQ(model.forward(Model::Inputs{at::rand({3, 196})})[0].size(1), 196);
  // 4-2-4 without hidden units is linear: f(2x) - f(0) = 2 (f(x) - f(0)).
  auto linear = autoencoder({.widths = {4, 2}, .dtype = at::kDouble});
  auto x = at::rand({3, 4}, at::kDouble);
  auto f = [&](const Tensor& at) { return linear.forward(Model::Inputs{at})[0]; };
  EXPECT_TRUE(at::allclose(f(2 * x) - f(0 * x), 2 * (f(x) - f(0 * x)), 1e-12, 1e-12));
}

TEST(Zoo, CnnHasTheBenchmarksShape) {
  auto model = cnn();
  EXPECT_EQ(model.parameters(), 105866);  // BENCHMARKS, CB
  auto x = at::rand({2, 1, 28, 28});
  EXPECT_EQ(model.forward(Model::Inputs{x})[0].sizes(), at::IntArrayRef({2, 10}));
  EXPECT_TRUE(
      at::equal(model.forward(Model::Inputs{x})[0], model.forward(Model::Inputs{x.view({2, 784})})[0]));
  auto normalized = cnn({.batch_norm = true});
  normalized.train();
  EXPECT_TRUE(normalized.couples_examples());
  normalized.train(false);
  EXPECT_FALSE(normalized.couples_examples());
}

double variance(const Tensor& w) {
  return w.to(at::kDouble).square().mean().item<double>();
}

TEST(Zoo, InitializationsHaveTheirVariances) {
  auto weight = [](InitializationOptions initialization) {
    return mlp({.widths = {300, 200, 1}, .initialization = initialization}).layout().leaves()[0];
  };
  // 60,000 entries: the sample variance of a normal is within 3 % in all but one of 10^6 draws.
  EXPECT_NEAR(variance(weight({})), 1.0 / 3 / 300, 0.03 / 3 / 300);
  EXPECT_NEAR(variance(weight({.kind = Initialization::xavier})), 2.0 / 500, 0.06 / 500);
  EXPECT_NEAR(variance(weight({.kind = Initialization::he})), 2.0 / 300, 0.06 / 300);
  EXPECT_NEAR(variance(weight({.kind = Initialization::scaled, .weight_variance = 1.76})), 1.76 / 300,
              0.053 / 300);
  auto q = weight({.kind = Initialization::orthogonal}).to(at::kDouble);
  EXPECT_LT((q.mm(q.t()) - at::eye(200, at::kDouble)).abs().max().item<double>(), 1e-6);
  auto biased =
      mlp({.widths = {3, 4000, 1},
           .initialization = {.kind = Initialization::scaled, .weight_variance = 1, .bias_variance = 0.05}});
  EXPECT_NEAR(variance(biased.layout().leaves()[1]), 0.05, 0.006);
}

TEST(Zoo, SameSeedSameNetworkAndTheGlobalGeneratorIsLeftAlone) {
  torch::manual_seed(5);
  auto before = at::rand({1});
  torch::manual_seed(5);
  auto a = mlp({.initialization = {.seed = 3}}), b = mlp({.initialization = {.seed = 3}});
  auto c = mlp({.initialization = {.seed = 4}});
  EXPECT_TRUE(at::equal(at::rand({1}), before));
  EXPECT_TRUE(at::equal(a.layout().theta(), b.layout().theta()));
  EXPECT_FALSE(at::equal(a.layout().theta(), c.layout().theta()));
}

TEST(Zoo, BadOptionsAreNamed) {
  auto refusal = [](auto f) { return message_of(f, ErrorKind::usage); };
  EXPECT_THAT(refusal([] { mlp({.widths = {4}}); }), testing::HasSubstr("widths = [4]"));
  EXPECT_THAT(refusal([] { mlp({.widths = {4, 0}}); }), testing::HasSubstr("widths = [4, 0]"));
  EXPECT_THAT(refusal([] { cnn({.height = 3, .width = 3}); }), testing::HasSubstr("3 x 3"));
  EXPECT_THAT(refusal([] { parse_activation("rellu"); }), testing::HasSubstr("did you mean relu?"));
  EXPECT_THAT(message_of([] {
                mlp().forward(Model::Inputs{at::rand({2, 5})});
              }),
              testing::HasSubstr("[2, 5]"));
  EXPECT_EQ(parse_initialization(name_of(Initialization::orthogonal)), Initialization::orthogonal);
}

TEST(Zoo, BeginsCriticallyWhereThatIsKnown) {
  MlpOptions options{.widths = {100, 100, 100, 10}, .activation = Activation::tanh, .dtype = at::kDouble};
  options.initialization = {.kind = Initialization::critical, .seed = 4};
  Tensor W = mlp(options).layout().leaves()[2];
  EXPECT_NEAR((W.square().mean() * 100).item<double>(), 1.761, 0.1);
  ResnetOptions branches;
  branches.initialization.kind = Initialization::critical;
  EXPECT_THROW(branches.check(), Error) << "not for networks with branches";
}

}  // namespace
}  // namespace osculant
