#include "osculant/model/layer_taps.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/nn.h>

#include <thread>

#include "osculant/model/model.h"
#include "osculant/model/zoo.h"

namespace osculant {
namespace {

using torch::nn::Conv2d;
using torch::nn::Linear;

struct Pass {
  std::vector<LayerTap> taps;
  Tensor output;
};

Pass pass(const Model& model, const Tensor& x) {
  LayerTaps taps(model.layout());
  EXPECT_EQ(taps.note(), "");
  Tensor y = model.forward(Model::Inputs{x})[0];
  return {taps.list(), y};
}

std::vector<std::string> layers_of(const std::vector<LayerTap>& taps) {
  std::vector<std::string> names;
  for (const auto& tap : taps) names.push_back(tap.layer);
  return names;
}

TEST(LayerTaps, LinearLayersByHand) {
  torch::nn::Sequential net(Linear(3, 4), torch::nn::Tanh(), Linear(4, 2));
  net->to(at::kDouble);
  Model model(net);
  auto x = at::randn({5, 3}, at::kDouble);
  auto [taps, y] = pass(model, x);
  ASSERT_THAT(layers_of(taps), testing::ElementsAre("0", "2"));
  const LayerTap &first = taps[0], &last = taps[1];
  auto W = net->parameters();
  Tensor z = at::matmul(x, W[0].t()) + W[1], a = z.tanh();
  EXPECT_EQ(first.parameter, "0.weight");
  EXPECT_TRUE(first.weight.is_same(W[0]));
  EXPECT_TRUE(at::equal(first.input, x));
  EXPECT_TRUE(at::allclose(first.output, z, 1e-12, 1e-14));
  EXPECT_EQ(first.activation_kind, ActivationKind::tanh);
  EXPECT_TRUE(at::allclose(first.activated, a, 1e-12, 1e-14));
  EXPECT_TRUE(at::allclose(last.output, at::matmul(a, W[2].t()) + W[3], 1e-12, 1e-14));
  EXPECT_EQ(last.activation, "");
  EXPECT_FALSE(last.activated.defined());
  // d (sum of y) / d z = (1 - a^2) (W2' 1)
  auto g = torch::autograd::grad({y.sum()}, {first.output, last.output}, {}, true);
  EXPECT_TRUE(at::allclose(g[0], (1 - a.square()) * W[2].sum(0), 1e-12, 1e-14));
  EXPECT_TRUE(at::equal(g[1], at::ones_like(y)));
}

TEST(LayerTaps, ConvolutionNormalizationAndActivationInPlace) {
  torch::nn::Sequential net(Conv2d(torch::nn::Conv2dOptions(1, 2, 2)), torch::nn::BatchNorm2d(2),
                            torch::nn::ReLU(torch::nn::ReLUOptions(true)), torch::nn::Flatten(),
                            Linear(8, 1));
  net->to(at::kDouble);
  net->eval();
  Model model(net);
  auto x = at::randn({3, 1, 3, 3}, at::kDouble);
  auto [taps, y] = pass(model, x);
  ASSERT_THAT(layers_of(taps), testing::ElementsAre("0", "1", "4"));
  const LayerTap &conv = taps[0], &norm = taps[1];
  auto W = net->parameters();
  // A 2 x 2 kernel over 3 x 3 pixels, pixel by pixel.
  for (int64_t c = 0; c < 2; ++c)
    for (int64_t i = 0; i < 2; ++i)
      for (int64_t j = 0; j < 2; ++j) {
        Tensor expected = (x.slice(2, i, i + 2).slice(3, j, j + 2) * W[0][c]).sum({1, 2, 3}) + W[1][c];
        EXPECT_TRUE(at::allclose(conv.output.select(1, c).select(1, i).select(1, j), expected, 1e-12, 1e-14));
      }
  EXPECT_EQ(conv.unit_dimension, 1);
  EXPECT_EQ(conv.activation, "");
  EXPECT_EQ(norm.kind, LayerKind::normalization);
  Tensor normed = conv.output / std::sqrt(1 + 1e-5);  // running mean 0, variance 1
  EXPECT_TRUE(at::allclose(norm.output, normed, 1e-12, 1e-14)) << "kept although ReLU works in place";
  EXPECT_EQ(norm.activation, "relu");
  EXPECT_TRUE(at::allclose(norm.activated, normed.clamp_min(0), 1e-12, 1e-14));
  auto g = torch::autograd::grad({y.sum()}, {norm.output}, {}, true);
  Tensor expected = norm.activated.ne(0) * W[4].view({2, 2, 2});
  EXPECT_TRUE(at::allclose(g[0], expected, 1e-12, 1e-14));
}

TEST(LayerTaps, BiasAddedApartBelongsToTheLayer) {
  auto W = at::randn({3, 2}, at::kDouble), b = at::randn({2}, at::kDouble);
  Model model({{"W", W}, {"b", b}},
              [&](const Model::Inputs& x) { return Model::Outputs{at::sigmoid(at::matmul(x[0], W) + b)}; });
  auto x = at::randn({4, 3}, at::kDouble);
  auto [taps, y] = pass(model, x);
  ASSERT_EQ(taps.size(), 1u);
  EXPECT_EQ(taps[0].layer, "W");
  EXPECT_TRUE(at::allclose(taps[0].output, x.matmul(W) + b, 1e-12, 1e-14));
  EXPECT_EQ(taps[0].activation_kind, ActivationKind::sigmoid);
}

TEST(LayerTaps, FrozenLayersAndBackwardPassesLeaveNone) {
  Model model = mlp({.widths = {3, 4, 2}});
  model = model.with_frozen({"0.*"});
  LayerTaps taps(model.layout());
  Tensor y = model.forward(Model::Inputs{at::randn({5, 3})})[0];
  torch::autograd::grad({y.sum()}, model.layout().leaves());
  EXPECT_THAT(layers_of(taps.list()), testing::ElementsAre("2"));
}

TEST(LayerTaps, OtherThreadsAndExceptionsLeaveNothingBehind) {
  Model model = mlp({.widths = {3, 4, 2}});
  auto x = at::randn({5, 3});
  LayerTaps outer(model.layout());
  try {
    LayerTaps inner(model.layout());
    model.forward(Model::Inputs{x});
    EXPECT_EQ(inner.list().size(), 2u);
    at::mm(x, x);  // sizes do not match
    ADD_FAILURE() << "nothing was thrown";
  } catch (const c10::Error&) {
  }
  std::thread([&] { model.forward(Model::Inputs{x}); }).join();
  EXPECT_EQ(outer.list().size(), 0u);
  model.forward(Model::Inputs{x});
  EXPECT_EQ(outer.list().size(), 2u);
}

}  // namespace
}  // namespace osculant
