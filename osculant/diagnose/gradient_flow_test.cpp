#include "osculant/diagnose/gradient_flow.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/nn.h>

#include <cmath>

#include "osculant/base/random.h"
#include "osculant/base/testing.h"
#include "osculant/model/zoo.h"

namespace osculant {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::vector<int64_t> deep(int64_t inputs, int64_t width, int64_t hidden, int64_t outputs) {
  std::vector<int64_t> widths(static_cast<size_t>(hidden), width);
  widths.insert(widths.begin(), inputs);
  widths.push_back(outputs);
  return widths;
}

Dataset random_classes(int64_t examples, int64_t inputs, int64_t classes, at::ScalarType dtype = at::kFloat) {
  RandomStream random(7, "gradient flow test");
  return Dataset(random.normal({examples, inputs}, dtype), random.integers(classes, {examples}));
}

GradientFlow flow_of(const MlpOptions& options, int64_t examples = 64) {
  Dataset data = random_classes(examples, options.widths.front(), options.widths.back(), options.dtype);
  return gradient_flow(Objective(mlp(options), CrossEntropy(), data.full()));
}

bool contains(const LayerRatio& ratio, double value) {
  return ratio.low <= value * (1 + 1e-12) && value * (1 - 1e-12) <= ratio.high;
}

TEST(GradientFlow, NumbersAreThoseOfTheNetworkByHand) {
  Model model = mlp({.widths = {3, 5, 4, 2}, .activation = Activation::tanh, .dtype = at::kDouble});
  Dataset data = random_classes(12, 3, 2, at::kDouble);
  Objective objective(model, CrossEntropy(), data.batches(5));  // 5, 5, 2
  double charged = objective.ledger().gradient_equivalents();
  GradientFlow flow = gradient_flow(objective);
  EXPECT_NEAR(objective.ledger().gradient_equivalents() - charged, 1, 1e-12);
  ASSERT_EQ(flow.layers.size(), 3u);
  EXPECT_EQ(flow.examples, 12);

  const auto& W = model.layout().leaves();
  Tensor x = data.examples().inputs[0].tensor;
  std::vector<Tensor> z(3);
  for (size_t l = 0; l < 3; ++l) z[l] = (l ? z[l - 1].tanh() : x).matmul(W[2 * l].t()) + W[2 * l + 1];
  Tensor rows = at::arange(12);
  Tensor loss = -at::log_softmax(z[2], 1).index({rows, data.examples().targets[0].tensor}).sum();
  auto by = z;
  for (const auto& leaf : W) by.push_back(leaf);
  auto gradient = torch::autograd::grad({loss}, by, {}, true);
  for (size_t l = 0; l < 3; ++l) {
    const LayerFlow& layer = flow.layers[l];
    EXPECT_EQ(layer.name, std::to_string(2 * l));
    EXPECT_NEAR(layer.forward_variance, z[l].var(0).mean().item<double>(), 1e-12);
    EXPECT_NEAR(layer.scale, std::sqrt(z[l].square().mean().item<double>()), 1e-12);
    EXPECT_NEAR(layer.backward_norm, gradient[l].norm().item<double>() / std::sqrt(12), 1e-12);
    auto norm = [](const Tensor& a, const Tensor& b) { return at::hypot(a.norm(), b.norm()).item<double>(); };
    double g = norm(gradient[3 + 2 * l], gradient[4 + 2 * l]) / 12, w = norm(W[2 * l], W[2 * l + 1]);
    EXPECT_NEAR(layer.gradient_ratio, g / w, 1e-12);
  }
  EXPECT_EQ(flow.layers[0].saturated, 0);
  EXPECT_TRUE(std::isnan(flow.layers[0].dead)) << "does not apply to tanh";
  EXPECT_TRUE(std::isnan(flow.forward_ratio.value))
      << "one layer between the first and the last says nothing";
}

// Orthogonal weights times c in a linear network: differences grow by c in norm, c^2 in variance, and
// gradients by c, at every layer exactly.
TEST(GradientFlow, RatiosOfALinearNetworkAreItsGain) {
  MlpOptions options{.widths = deep(16, 16, 11, 16),
                     .activation = Activation::identity,
                     .bias = false,
                     .initialization = {.kind = Initialization::orthogonal},
                     .dtype = at::kDouble};
  Dataset data = random_classes(20, 16, 16, at::kDouble);
  for (double c : {0.7, 1.3}) {
    Model model = mlp(options);
    model.layout().assign(c * model.layout().theta());
    GradientFlow flow = gradient_flow(Objective(model, CrossEntropy(), data.full()));
    EXPECT_EQ(flow.forward_ratio.layers, 9);
    EXPECT_NEAR(flow.forward_ratio.value, c * c, 1e-7);  // the matrices are orthogonal to float32
    EXPECT_NEAR(flow.backward_ratio.value, c, 1e-7);
    EXPECT_TRUE(contains(flow.forward_ratio, c * c));
    EXPECT_TRUE(contains(flow.backward_ratio, c));
    EXPECT_EQ(flow.verdict, FlowVerdict::healthy) << flow.words;
  }
}

// The difference of two examples in a linear network with Gaussian weights of variance c^2 / n: its squared
// norm is multiplied by c^2 chi2_n / n, independently at each layer, and E log chi2_n = digamma(n / 2) +
// log 2.
TEST(GradientFlow, IntervalsHoldAsOftenAsTheySay) {
  constexpr int64_t n = 8, nets = 100;
  double c2 = 1.5;
  double drift =
      c2 * std::exp(at::digamma(at::full({}, n / 2.0, at::kDouble)).item<double>() + std::log(2.0 / n));
  Dataset data = random_classes(2, n, n, at::kDouble);
  int64_t covered = 0;
  for (uint64_t seed = 0; seed < nets; ++seed) {
    Model model =
        mlp({.widths = deep(n, n, 16, n),
             .activation = Activation::identity,
             .bias = false,
             .initialization = {.kind = Initialization::scaled, .weight_variance = c2, .seed = seed},
             .dtype = at::kDouble});
    covered += contains(gradient_flow(Objective(model, CrossEntropy(), data.full())).forward_ratio, drift);
  }
  EXPECT_GE(covered, 88);  // of a binomial with p = 0.95, 1 in 500 has fewer
  EXPECT_LT(covered, 100);
}

// Sigmoid layers at torch's default: weights of variance 1/(3 n), so differences are multiplied by
// chi = E phi'(z)^2 / 3 in variance, z of variance 1/12, and gradients by sqrt(chi).
TEST(GradientFlow, TwentySigmoidLayersAreADeadSignal) {
  GradientFlow flow = flow_of({.widths = deep(784, 100, 20, 10), .activation = Activation::sigmoid});
  EXPECT_EQ(flow.verdict, FlowVerdict::dead_signal) << flow.words;
  double chi = 0.0199;
  EXPECT_NEAR(flow.forward_ratio.value, chi, 0.25 * chi);
  EXPECT_NEAR(flow.backward_ratio.value, std::sqrt(chi), 0.15 * std::sqrt(chi));
  EXPECT_GE(flow.backward_ratio.layers, 15);
  EXPECT_LT(flow.forward_ratio.layers, 10) << "layers that hold rounding alone are left out";
  EXPECT_LT(flow.layers.front().backward_norm, 1e-12 * flow.layers.back().backward_norm);
  EXPECT_EQ(flow.layers.front().saturated, 0);
  EXPECT_THAT(flow.words, AllOf(HasSubstr("Dead signal"), HasSubstr("lost in rounding from layer"),
                                HasSubstr("multiplies the variance between inputs by 0.0"),
                                HasSubstr("rounding's 9.537e-07"), HasSubstr("No optimiser alone")));
  EXPECT_THAT(flow.report(), AllOf(HasSubstr("forward variance"), HasSubstr("addmm, sigmoid")));
}

TEST(GradientFlow, XavierTanhAndHeReluAreHealthy) {
  GradientFlow tanh = flow_of({.widths = deep(784, 100, 30, 10),
                               .activation = Activation::tanh,
                               .initialization = {.kind = Initialization::xavier}});
  EXPECT_EQ(tanh.verdict, FlowVerdict::healthy) << tanh.words;
  EXPECT_NEAR(tanh.backward_ratio.value, 1, 0.1);  // s_w^2 = 1 is critical
  GradientFlow relu = flow_of({.widths = deep(784, 100, 30, 10),
                               .activation = Activation::relu,
                               .initialization = {.kind = Initialization::he}});
  EXPECT_EQ(relu.verdict, FlowVerdict::healthy) << relu.words;
  EXPECT_NEAR(relu.backward_ratio.value, 1, 0.1);
  EXPECT_THAT(relu.words, Not(HasSubstr("Flat")));
}

TEST(GradientFlow, HugeWeightsSaturateOrOverflow) {
  MlpOptions options{.widths = deep(50, 40, 10, 5),
                     .activation = Activation::tanh,
                     .initialization = {.kind = Initialization::scaled, .weight_variance = 1e4}};
  GradientFlow tanh = flow_of(options);
  EXPECT_EQ(tanh.verdict, FlowVerdict::exploding);
  EXPECT_GT(tanh.layers[3].saturated, 0.5);
  EXPECT_THAT(tanh.words, AllOf(HasSubstr("of the units are saturated"), HasSubstr("50 %")));
  options.activation = Activation::relu;
  GradientFlow growth = flow_of(options);
  EXPECT_EQ(growth.verdict, FlowVerdict::exploding);
  EXPECT_THAT(growth.words, HasSubstr("by a factor of"));
  options.initialization.weight_variance = 1e9;
  GradientFlow overflow = flow_of(options);
  EXPECT_EQ(overflow.verdict, FlowVerdict::exploding);
  EXPECT_THAT(overflow.words, HasSubstr("not finite"));
}

TEST(GradientFlow, DeadUnitsAreCountedOverAllBatches) {
  // Of four channels one sees a large negative bias, and one is positive on a single example of the last
  // batch.
  torch::nn::Sequential net(torch::nn::Conv2d(torch::nn::Conv2dOptions(1, 4, 1)), torch::nn::ReLU(),
                            torch::nn::Flatten(), torch::nn::Linear(16, 2));
  auto W = net->parameters();
  W[0].data().fill_(1);
  W[1].data().copy_(at::tensor({0.f, 0.f, -100.f, -3.f}));
  Tensor x = at::rand({6, 1, 2, 2});
  x[5][0][1][0] = 4;
  Dataset data(x, at::zeros({6}, at::kLong));
  Objective objective(Model(net), CrossEntropy(), data.batches(2));
  GradientFlow flow = gradient_flow(objective);
  EXPECT_EQ(flow.layers[0].operation, "conv2d");
  EXPECT_EQ(flow.layers[0].dead, 0.25);
  EXPECT_TRUE(std::isnan(flow.layers[0].saturated));
  EXPECT_EQ(gradient_flow(objective, {.batches = 2}).layers[0].dead, 0.5);
}

TEST(GradientFlow, SaysWhatStopsASignal) {
  Model model = mlp({.widths = {4, 5, 5, 3}});
  Tensor theta = model.layout().theta().clone();
  theta.index_fill_(0, model.layout().indices({"4.*"}), 0);
  model.layout().assign(theta);
  GradientFlow flow = gradient_flow(Objective(model, CrossEntropy(), random_classes(9, 4, 3).full()));
  EXPECT_EQ(flow.verdict, FlowVerdict::dead_signal);
  EXPECT_THAT(flow.words, HasSubstr("weights of 4 are all 0"));
}

TEST(GradientFlow, ClaimsNothingThatItDoesNotKnow) {
  Model model = mlp({.widths = {4, 5, 3}});
  Dataset same(at::ones({6, 4}), at::zeros({6}, at::kLong));
  GradientFlow flow = gradient_flow(Objective(model, CrossEntropy(), same.full()));
  EXPECT_EQ(flow.verdict, FlowVerdict::unknown);
  EXPECT_THAT(flow.words, HasSubstr("do not differ"));

  Tensor w = at::ones({4});
  Model no_layers({{"w", w}}, [&](const Model::Inputs& x) { return Model::Outputs{x[0] * w}; });
  flow = gradient_flow(Objective(no_layers, CrossEntropy(), random_classes(6, 4, 4).full()));
  EXPECT_EQ(flow.verdict, FlowVerdict::unknown);
  EXPECT_THAT(flow.report(), HasSubstr("no layer with a trainable weight"));
}

TEST(GradientFlow, FlatOnlyByCurvature) {
  Objective objective(mlp({.widths = {4, 5, 5, 3}}), CrossEntropy(), random_classes(9, 4, 3).full());
  EXPECT_EQ(gradient_flow(objective).verdict, FlowVerdict::healthy);
  auto exactly = [](double norm) { return Measured{norm, norm, norm}; };
  GradientFlowOptions options{.curvature = {{"0", exactly(1e-9)}, {"2", exactly(1)}, {"4", {2, 1.5, 2.5}}}};
  GradientFlow flow = gradient_flow(objective, options);
  EXPECT_EQ(flow.verdict, FlowVerdict::flat_but_alive);
  EXPECT_THAT(flow.words, AllOf(HasSubstr("0 (1e-09)"), HasSubstr("0.0001")));
  GradientFlow later = gradient_flow(objective);
  consider_curvature(later, options.curvature);
  EXPECT_EQ(later.verdict, FlowVerdict::flat_but_alive);
  EXPECT_EQ(later.words, flow.words);
  options.curvature[0].norm = exactly(1e-3);
  EXPECT_EQ(gradient_flow(objective, options).verdict, FlowVerdict::healthy);
  options.curvature[0].norm = {1e-9, 0, 1e-3};  // the interval reaches what is not flat
  EXPECT_EQ(gradient_flow(objective, options).verdict, FlowVerdict::healthy);
}

TEST(GradientFlow, OptionsAreChecked) {
  Objective objective(mlp({.widths = {4, 3}}), CrossEntropy(), random_classes(9, 4, 3).full());
  EXPECT_THAT(message_of([&] { gradient_flow(objective, {.saturation = -1}); }, ErrorKind::usage),
              HasSubstr("saturation = -1"));
  Tensor w = at::ones({2});
  auto function = Objective::function({{"w", w}}, [&] { return w.square().sum(); });
  EXPECT_THAT(message_of([&] { gradient_flow(function); }, ErrorKind::usage), HasSubstr("no layers"));
}

}  // namespace
}  // namespace osculant
