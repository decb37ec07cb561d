#include "osculant/tensor/parameter_layout.h"

#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/nn.h>

#include "osculant/base/error.h"
#include "osculant/tensor/layer_blocks.h"

#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/nn.h>

namespace osculant {
namespace {

struct Net : torch::nn::Module {
  torch::nn::Linear a{nullptr}, b{nullptr};
  Net() {
    a = register_module("a", torch::nn::Linear(3, 4));
    b = register_module("b", torch::nn::Linear(4, 2));
  }
};

std::vector<NamedTensor> leaves_of(torch::nn::Module& net) {
  std::vector<NamedTensor> leaves;
  for (auto& item : net.named_parameters()) leaves.push_back({item.key(), item.value()});
  return leaves;
}

TEST(ParameterLayout, ParametersBecomeViewsOfTheta) {
  Net net;
  auto before = net.a->weight.detach().clone();
  ParameterLayout layout(leaves_of(net));
  EXPECT_EQ(layout.size(), 3 * 4 + 4 + 4 * 2 + 2);
  EXPECT_TRUE(net.a->weight.equal(before));
  layout.add(at::ones({layout.size()}), 0.5);
  EXPECT_TRUE(net.a->weight.allclose(before + 0.5));
}

TEST(ParameterLayout, SnapshotBringsBackBitsAndEpoch) {
  Net net;
  ParameterLayout layout(leaves_of(net));
  auto snapshot = layout.snapshot();
  layout.add(at::rand({layout.size()}), 1e-3);
  EXPECT_NE(layout.epoch(), snapshot.epoch);
  auto moved = layout.epoch();
  layout.restore(snapshot);
  EXPECT_EQ(layout.epoch(), snapshot.epoch);
  EXPECT_TRUE(layout.theta().equal(snapshot.theta));
  layout.add(at::zeros({layout.size()}));
  EXPECT_NE(layout.epoch(), moved);  // an epoch is never given out twice
}

TEST(ParameterLayout, NoticesAModuleMovedAwayAndAWriteFromOutside) {
  Net net;
  ParameterLayout layout(leaves_of(net));
  EXPECT_NO_THROW(layout.check());
  {
    torch::NoGradGuard guard;
    net.a->bias.add_(1);
  }
  EXPECT_THROW(layout.check(), Error);

  Net other;
  ParameterLayout taken(leaves_of(other));
  other.to(torch::kFloat64);
  EXPECT_THROW(taken.check(), Error);
}

TEST(ParameterLayout, FlattenAndUnflattenAreInverse) {
  Net net;
  ParameterLayout layout(leaves_of(net));
  auto flat = at::randn({layout.size()});
  EXPECT_TRUE(layout.flatten(layout.unflatten(flat)).equal(flat));
  auto parts = layout.unflatten(flat);
  parts[1] = Tensor();  // unused: zeros
  EXPECT_EQ(layout.flatten(parts).narrow(0, 12, 4).abs().sum().item<float>(), 0);
}

TEST(ParameterLayout, RefusesMixedDtypesAndTiedLeaves) {
  auto a = at::rand({2}).requires_grad_(), b = at::rand({2}, at::kDouble).requires_grad_();
  EXPECT_THROW(ParameterLayout({{"a", a}, {"b", b}}), Error);
  EXPECT_THROW(ParameterLayout({{"a", a}, {"again", a}}), Error);
  EXPECT_THROW(ParameterLayout({{"i", at::zeros({2}, at::kLong)}}), Error);
  EXPECT_THROW(ParameterLayout(std::vector<NamedTensor>{}), Error);
}

TEST(ParameterLayout, IndicesByGlob) {
  Net net;
  ParameterLayout layout(leaves_of(net));
  EXPECT_TRUE(layout.indices({"a.bias"}).equal(at::arange(12, 16)));
  EXPECT_EQ(layout.indices({"*"}).numel(), layout.size());
  EXPECT_EQ(layout.indices({"b.*", "a.bias"}).numel(), 14);
  EXPECT_THROW(layout.indices({"c.*"}), Error);
}

TEST(LayerBlocks, JoinNeighboursOfOneLayer) {
  auto leaf = [](int64_t size) { return at::zeros({size}, at::kDouble).requires_grad_(); };
  ParameterLayout layout({{"scale", leaf(1)},
                          {"a.0.weight", leaf(6)},
                          {"a.0.bias", leaf(2)},
                          {"a.1.weight", leaf(4)},
                          {"a.0.extra", leaf(3)}});
  auto blocks = layer_blocks(layout);
  ASSERT_EQ(blocks.size(), 4u);
  std::vector<std::string> names;
  int64_t next = 0;
  for (const auto& block : blocks) {
    names.push_back(block.name);
    EXPECT_EQ(block.offset, next);
    next += block.size;
  }
  EXPECT_EQ(next, layout.size());
  EXPECT_EQ(names, (std::vector<std::string>{"scale", "a.0", "a.1", "a.0 (2)"}));
  EXPECT_EQ(blocks[1].size, 8);
}

}  // namespace
}  // namespace osculant
