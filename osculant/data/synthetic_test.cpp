#include "osculant/data/synthetic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <numbers>

#include "osculant/base/error.h"

namespace osculant {
namespace {

const Tensor& inputs_of(const Dataset& data) {
  return data.examples().inputs[0].tensor;
}
const Tensor& targets_of(const Dataset& data) {
  return data.examples().targets[0].tensor;
}

TEST(Synthetic, TeacherIsAFunctionOfItsSeedAndOfIndependentNoise) {
  synthetic::TeacherOptions options{.examples = 4000, .inputs = 5, .outputs = 2, .dtype = at::kDouble};
  auto clean = synthetic::teacher(options);
  EXPECT_EQ(targets_of(clean).sizes(), at::IntArrayRef({4000, 2}));
  EXPECT_TRUE(targets_of(synthetic::teacher(options)).equal(targets_of(clean)));
  options.noise = 0.5;
  auto noisy = synthetic::teacher(options);
  EXPECT_TRUE(inputs_of(noisy).equal(inputs_of(clean)));
  EXPECT_NEAR((targets_of(noisy) - targets_of(clean)).std().item<double>(), 0.5, 0.02);
  options.seed = 1;
  EXPECT_FALSE(inputs_of(synthetic::teacher(options)).equal(inputs_of(clean)));
}

TEST(Synthetic, TheSameNumbersInEveryDtype) {
  auto in_double = synthetic::teacher({.dtype = at::kDouble}), in_float = synthetic::teacher();
  EXPECT_EQ(targets_of(in_float).scalar_type(), at::kFloat);
  EXPECT_TRUE(targets_of(in_double).to(at::kFloat).equal(targets_of(in_float)));
}

TEST(Synthetic, MixtureHasEqualClassesRoundTheirCentres) {
  auto data = synthetic::gaussian_mixture(
      {.examples = 3000, .features = 4, .classes = 3, .separation = 5, .dtype = at::kDouble});
  const auto& x = inputs_of(data);
  const auto& y = targets_of(data);
  EXPECT_TRUE(y.bincount().equal(at::full({3}, 1000, at::kLong)));
  std::vector<Tensor> centres;
  for (int64_t k = 0; k < 3; ++k) {
    auto members = x.index_select(0, y.eq(k).nonzero().squeeze(1));
    centres.push_back(members.mean(0));
    EXPECT_NEAR((members - centres.back()).square().mean().item<double>(), 1, 0.1);
  }
  auto nearest = at::cdist(x, at::stack(centres)).argmin(1);
  EXPECT_GT(nearest.eq(y).to(at::kDouble).mean().item<double>(), 0.97);
}

TEST(Synthetic, SineIsOnePeriod) {
  auto data = synthetic::sine(41, at::kDouble);
  EXPECT_EQ(inputs_of(data)[0].item<double>(), -1);
  EXPECT_EQ(inputs_of(data)[40].item<double>(), 1);
  EXPECT_NEAR(targets_of(data)[30].item<double>(), 1, 1e-14);  // x = 1/2
  EXPECT_NEAR(targets_of(data).sum().item<double>(), 0, 1e-13);
}

TEST(Synthetic, SincIsSinOfTenXOverTenX) {
  auto data = synthetic::sinc(500, 3, at::kDouble);
  auto x = inputs_of(data);
  EXPECT_TRUE(targets_of(data).allclose(at::sin(10 * x) / (10 * x), 1e-12));
  EXPECT_LT(x.min().item<double>(), -0.9);
  EXPECT_GT(x.max().item<double>(), 0.9);
}

TEST(Synthetic, ParityCountsOnes) {
  EXPECT_TRUE(inputs_of(synthetic::exclusive_or())
                  .equal(at::tensor({-1.f, -1.f, 1.f, -1.f, -1.f, 1.f, 1.f, 1.f}).view({4, 2})));
  EXPECT_TRUE(targets_of(synthetic::exclusive_or()).equal(at::tensor({0.f, 1.f, 1.f, 0.f}).view({4, 1})));
  auto data = synthetic::parity(5, at::kDouble);
  auto sign = -inputs_of(data).neg().prod(1, /*keepdim=*/true);  // (-1)^(ones + 1)
  EXPECT_TRUE(targets_of(data).equal((1 + sign) / 2));
}

TEST(Synthetic, RefusesOptionsByName) {
  EXPECT_THROW(synthetic::teacher({.examples = 0}), Error);
  EXPECT_THROW(synthetic::teacher({.noise = -1}), Error);
  EXPECT_THROW(synthetic::gaussian_mixture({.examples = 3, .classes = 4}), Error);
  EXPECT_THROW(synthetic::sine(1), Error);
  EXPECT_THROW(synthetic::parity(0), Error);
}

}  // namespace
}  // namespace osculant
