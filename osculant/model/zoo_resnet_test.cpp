#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <map>

#include "osculant/base/random.h"
#include "osculant/base/testing.h"
#include "osculant/model/consistency.h"
#include "osculant/model/zoo.h"

namespace osculant {
namespace {

// (x - mean) / sqrt(variance + 1e-5) in each group of channels of each example.
Tensor normalized(const Tensor& x, int64_t groups, const Tensor& scale, const Tensor& shift) {
  Tensor parts = x.reshape({x.size(0), groups, -1});
  Tensor centred = parts - parts.mean(2, true);
  Tensor unit = (centred / (centred.square().mean(2, true) + 1e-5).sqrt()).view(x.sizes());
  return unit * scale.view({-1, 1, 1}) + shift.view({-1, 1, 1});
}

class Reference {
 public:
  Reference(const Model& model, int64_t groups) : groups_(groups) {
    for (const auto& [name, tensor] : model.state()) state_[name] = tensor;
  }

  Tensor operator()(Tensor x) const {
    x = at::tanh(convolution(x, "stem", 1, 1));
    x = block(x, "stage1_1", 1);
    x = block(x, "stage1_2", 1);
    x = block(x, "stage2_1", 2);
    x = block(x, "stage2_2", 1);
    return x.mean({2, 3}).mm(state_.at("head.weight").t()) + state_.at("head.bias");
  }

 private:
  Tensor convolution(const Tensor& x, const std::string& name, int64_t stride, int64_t padding) const {
    Tensor y = at::conv2d(x, state_.at(name + ".conv.weight"), {}, {stride, stride}, {padding, padding});
    return normalized(y, groups_, state_.at(name + ".norm.weight"), state_.at(name + ".norm.bias"));
  }
  Tensor block(const Tensor& x, const std::string& name, int64_t stride) const {
    Tensor y = at::tanh(convolution(x, name + ".first", stride, 1));
    y = convolution(y, name + ".second", 1, 1);
    return at::tanh(y + (stride == 1 ? x : convolution(x, name + ".shortcut", 2, 0)));
  }

  std::map<std::string, Tensor> state_;
  int64_t groups_;
};

TEST(Resnet, IsTheNetworkOfThePaper) {
  RandomStream random(1, "images");
  for (auto [norm, groups] : {std::pair{Norm::group, 2}, std::pair{Norm::layer, 1}}) {
    auto model = resnet({.channels = 3,
                         .height = 9,
                         .width = 8,
                         .filters = {2, 6},
                         .blocks = 2,
                         .outputs = 4,
                         .activation = Activation::tanh,
                         .norm = norm,
                         .dtype = at::kDouble});
    Tensor theta = model.layout().theta();
    model.layout().assign(theta + 0.1 * random.normal(theta.sizes(), at::kDouble));  // norms off 1 and 0
    Tensor x = random.normal({5, 3, 9, 8}, at::kDouble);
    Tensor y = model.forward(Model::Inputs{x})[0];
    EXPECT_TRUE(at::allclose(y, Reference(model, groups)(x), 1e-12, 1e-12)) << name_of(norm);
    EXPECT_TRUE(at::equal(y, model.forward(Model::Inputs{x.view({5, -1})})[0]));
  }
}

TEST(Resnet, HasTheDepthAndSizeOfThePaper) {
  auto convolutions_and_linear = [](const Model& model) {
    int64_t count = 0;
    for (const auto& layer : model.layers())
      if (layer.shape.size() > 1 && layer.name.find("shortcut") == std::string::npos) ++count;
    return count;
  };
  // ResNet-20 for CIFAR-10: 0.27 M parameters (He et al. 2016, table 6); with a norm's two a channel.
  auto cifar = resnet({.channels = 3, .height = 32, .width = 32, .blocks = 3});
  EXPECT_EQ(convolutions_and_linear(cifar), 20);
  EXPECT_NEAR(static_cast<double>(cifar.parameters()), 0.27e6, 0.005e6);
  EXPECT_EQ(cifar.forward(Model::Inputs{at::rand({2, 3, 32, 32})})[0].sizes(), at::IntArrayRef({2, 10}));
  EXPECT_EQ(convolutions_and_linear(resnet()), 8);
  EXPECT_EQ(resnet().forward(Model::Inputs{at::rand({2, 784})})[0].sizes(), at::IntArrayRef({2, 10}));
}

TEST(Resnet, CouplesExamplesWithBatchNormInTrainingAlone) {
  Batch batch;
  batch.inputs.push_back({"", RandomStream(1, "images").normal({6, 1, 8, 8}, at::kDouble)});
  for (Norm norm : {Norm::group, Norm::layer, Norm::batch, Norm::none}) {
    auto model = resnet({.height = 8, .width = 8, .filters = {4, 8}, .norm = norm, .dtype = at::kDouble});
    model.train();
    EXPECT_EQ(model.couples_examples(), norm == Norm::batch) << name_of(norm);
    EXPECT_EQ(consistency(model, batch).independent(), norm != Norm::batch) << name_of(norm);
    model.train(false);
    EXPECT_FALSE(model.couples_examples()) << name_of(norm);
  }
}

TEST(Resnet, BadOptionsAndInputsAreNamed) {
  auto refusal = [](auto f) { return message_of(f, ErrorKind::usage); };
  EXPECT_THAT(refusal([] { resnet({.filters = {}}); }), testing::HasSubstr("filters = []"));
  EXPECT_THAT(refusal([] { resnet({.blocks = 0}); }), testing::HasSubstr("blocks, outputs = [0, 10]"));
  EXPECT_THAT(refusal([] { parse_norm("groop"); }), testing::HasSubstr("did you mean group?"));
  EXPECT_THAT(message_of([] {
                resnet().forward(Model::Inputs{at::rand({2, 3, 32, 32})});
              }),
              testing::HasSubstr("takes 784 entries an example ([1, 28, 28]), the input has shape [2, 3"));
}

}  // namespace
}  // namespace osculant
