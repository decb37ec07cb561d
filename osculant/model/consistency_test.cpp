#include "osculant/model/consistency.h"

#include <gtest/gtest.h>
#include <torch/nn.h>

#include <cmath>

namespace osculant {
namespace {

namespace nn = torch::nn;

Batch examples(int64_t count) {
  torch::manual_seed(1);
  return {{{"", at::randn({count, 3})}}, {}, {}};
}

TEST(Consistency, OrdinaryNetworksAreFunctionsOfOneExample) {
  Model model(nn::Sequential(nn::Linear(3, 8), nn::Tanh(), nn::Linear(8, 2)));
  Consistency found = consistency(model, examples(7));
  EXPECT_EQ(found.repeated, 0);
  EXPECT_LT(found.coupled, found.rounding);
  EXPECT_TRUE(found.deterministic() && found.independent());
}

TEST(Consistency, DropoutIsNoFunction) {
  Model model(nn::Sequential(nn::Linear(3, 30), nn::Dropout(0.5), nn::Linear(30, 2)));
  model.train(true);
  Consistency found = consistency(model, examples(6));
  EXPECT_FALSE(found.deterministic());
  EXPECT_TRUE(std::isnan(found.coupled));
  model.train(false);
  EXPECT_TRUE(consistency(model, examples(6)).deterministic());
}

TEST(Consistency, BatchNormalisationCouplesExamplesWhereItTrains) {
  Model model(nn::Sequential(nn::Linear(3, 8), nn::BatchNorm1d(8), nn::Linear(8, 2)));
  model.train(true);
  EXPECT_FALSE(consistency(model, examples(6)).independent());
  model.train(false);
  EXPECT_TRUE(consistency(model, examples(6)).independent());
}

TEST(Consistency, OneExampleHasNoOthers) {
  Model model(nn::Sequential(nn::Linear(3, 8)));
  Consistency found = consistency(model, examples(1));
  EXPECT_TRUE(std::isnan(found.coupled));
  EXPECT_TRUE(found.independent());
}

}  // namespace
}  // namespace osculant
