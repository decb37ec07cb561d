#include "osculant/model/plain_stack.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn.h>
#include <torch/types.h>

#include <cmath>

#include "osculant/base/random.h"
#include "osculant/base/testing.h"
#include "osculant/model/zoo.h"

namespace osculant {
namespace {

using ::testing::HasSubstr;

Batch normal_inputs(std::vector<int64_t> shape) {
  return {{{"", RandomStream(1, "inputs").normal(shape, at::kDouble)}}, {}, {}};
}

Model stack_of(int64_t layers, int64_t width, Activation activation,
               Initialization kind = Initialization::torch_default) {
  MlpOptions options{.widths = std::vector<int64_t>(static_cast<size_t>(layers) + 1, width),
                     .activation = activation,
                     .dtype = at::kDouble};
  options.initialization.kind = kind;
  return mlp(options);
}

TEST(PlainStack, SeesLayersActivationsAndVariances) {
  MlpOptions options{.widths = {8, 300, 200, 3}, .activation = Activation::tanh, .dtype = at::kDouble};
  options.initialization = {.kind = Initialization::scaled, .weight_variance = 1.5, .bias_variance = 0.05};
  auto stack = plain_stack(mlp(options), normal_inputs({4, 8}));
  ASSERT_EQ(stack.why_not, "");
  ASSERT_EQ(stack.layers.size(), 3u);
  EXPECT_EQ(stack.activation(), "tanh");
  EXPECT_EQ(stack.layers[0].before, "");
  EXPECT_EQ(stack.layers[2].after, "");
  EXPECT_EQ(stack.layers[1].fan_in, 300);
  EXPECT_NEAR(stack.variances().weight_variance, 1.5, 0.1);
  EXPECT_NEAR(stack.variances().bias_variance, 0.05, 0.02);
}

TEST(PlainStack, GoesThroughPoolingAndFlattening) {
  CnnOptions options{.height = 8, .width = 8, .filters = {4, 4}, .hidden = 8, .dtype = at::kDouble};
  auto stack = plain_stack(cnn(options), normal_inputs({2, 1, 8, 8}));
  EXPECT_EQ(stack.why_not, "");
  ASSERT_EQ(stack.layers.size(), 4u);
  EXPECT_EQ(stack.layers[1].fan_in, 36);
  EXPECT_EQ(stack.activation(), "relu");
}

TEST(PlainStack, IsNotSeenWhereThereAreBranchesOrNorms) {
  torch::nn::Linear a(4, 4), b(4, 4);
  torch::nn::Sequential net(a, b);
  net->to(at::kDouble);
  Model branch(net.ptr(), [a, b](const Model::Inputs& x) mutable -> Model::Outputs {
    Tensor h = a->forward(x[0]);
    return {b->forward(h + x[0])};
  });
  EXPECT_THAT(plain_stack(branch, normal_inputs({3, 4})).why_not, HasSubstr("is not what 0 made"));
  CnnOptions options{.height = 8, .width = 8, .filters = {4}, .hidden = 8, .batch_norm = true};
  options.dtype = at::kDouble;
  EXPECT_THAT(plain_stack(cnn(options), normal_inputs({2, 1, 8, 8})).why_not, HasSubstr("normalization"));
}

// norm of the gradient at the first layer's output over that at the last's, for 40 layers: 1 within a factor
// that random matrices of this width allow.
double gradient_ratio(const Model& model) {
  std::vector<Tensor> ends;
  Tensor x = RandomStream(2, "inputs").normal({16, 200}, at::kDouble);
  LayerTaps taps(model.layout());
  Tensor loss = model.forward(Batch{{{"", x}}, {}, {}})[0].sum();
  auto list = taps.list();
  auto gradients = torch::autograd::grad({loss}, {list.front().output, list[list.size() - 2].output});
  return (gradients[0].norm() / gradients[1].norm()).item<double>();
}

TEST(CriticalParameters, LetGradientsThroughWhereTheDefaultLetsNone) {
  for (Activation activation : {Activation::tanh, Activation::sigmoid, Activation::relu}) {
    Model model = stack_of(40, 200, activation);
    double before = gradient_ratio(model);
    auto stack = plain_stack(model, normal_inputs({2, 200}));
    model.layout().assign(critical_parameters(model, stack, 3));
    double after = gradient_ratio(model);
    EXPECT_LT(before, 1e-6) << name_of(activation);
    EXPECT_GT(after, 0.05) << name_of(activation);
    EXPECT_LT(after, 20) << name_of(activation);
  }
}

// tanh(x) = 2 sigmoid(2 x) - 1, so that both networks have the same outputs.
TEST(CriticalParameters, OfSigmoidsAreThoseOfTanhInOtherCoordinates) {
  Model tanh = stack_of(5, 30, Activation::tanh), sigmoid = stack_of(5, 30, Activation::sigmoid);
  Batch x = normal_inputs({7, 30});
  for (const auto* model : {&tanh, &sigmoid})
    model->layout().assign(critical_parameters(*model, plain_stack(*model, x), 11));
  Tensor difference = tanh.forward(x)[0] - sigmoid.forward(x)[0];
  EXPECT_LT(difference.abs().max().item<double>(), 1e-12);
}

TEST(CriticalParameters, AreRefusedWithTheReason) {
  Model model = stack_of(3, 5, Activation::softplus);
  Batch x = normal_inputs({2, 5});
  EXPECT_THAT(message_of([&] { critical_parameters(model, plain_stack(model, x), 1); }, ErrorKind::usage),
              HasSubstr("layer 0: no critical initialisation of softplus is known"));
  MlpOptions options{.widths = {5, 5, 5}, .activation = Activation::sigmoid, .bias = false};
  options.dtype = at::kDouble;
  Model bare = mlp(options);
  EXPECT_THAT(message_of([&] { critical_parameters(bare, plain_stack(bare, x), 1); }, ErrorKind::usage),
              HasSubstr("without biases"));
}

}  // namespace
}  // namespace osculant
