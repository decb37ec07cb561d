#include "osculant/diagnose/data_facts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "osculant/base/random.h"

namespace osculant {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Batch batch(const Tensor& x, const Tensor& y) {
  return {{{"", x}}, {{"", y}}, {}};
}

Tensor normal(std::vector<int64_t> shape) {
  return RandomStream(3, "inputs").normal(shape, at::kDouble);
}

TEST(DataFacts, SharesOfTheSecondMomentAreThoseOfItsEigenvalues) {
  Tensor x = normal({200, 6}) * at::arange(1, 7, at::kDouble) + 4;
  auto facts = data_facts(batch(x, normal({200, 1})));
  auto share = [](const Tensor& X) {
    Tensor l = at::linalg_eigvalsh(X.t().mm(X));
    return (l.max() / l.sum()).item<double>();
  };
  EXPECT_NEAR(facts.leading_share, share(x), 1e-3);
  EXPECT_NEAR(facts.centred_share, share(x - x.mean(0)), 1e-3);
  EXPECT_NEAR(facts.scale_ratio, (x.std(0).max() / x.std(0).min()).item<double>(), 1e-9);
  EXPECT_NEAR(facts.mean, x.mean().item<double>(), 1e-12);
  EXPECT_EQ(facts.classes, 0);
}

TEST(DataFacts, SeveralInputsAreLookedAtBesideEachOther) {
  Tensor x = normal({200, 4}), z = normal({200, 2, 3}) * 1000, ids = at::arange(200, at::kLong) % 3;
  z[5].copy_(z[4]);  // no duplicate: x differs
  x[11].copy_(x[10]);
  z[11].copy_(z[10]);
  Batch several{{{"x", x}, {"ids", ids}, {"z", z}}, {{"", normal({200, 1})}}, {}};
  Tensor all = at::cat({x, z.reshape({200, 6})}, 1);
  auto facts = data_facts(several), together = data_facts(batch(all, several.targets[0].tensor));
  EXPECT_EQ(facts.inputs, 10);
  EXPECT_EQ(facts.duplicates, 1);
  EXPECT_EQ(facts.scale_ratio, together.scale_ratio);
  EXPECT_EQ(facts.leading_share, together.leading_share);
  EXPECT_THAT(facts.words(), Contains(HasSubstr("Deviations of the inputs differ by a factor of")));
}

TEST(DataFacts, CountsDuplicatesAndThoseThatContradict) {
  Tensor x = normal({50, 3}), y = at::arange(50, at::kLong) % 2;
  x[10].copy_(x[4]);   // the same target
  x[11].copy_(x[4]);   // another
  x[12].copy_(x[12]);  // itself
  auto facts = data_facts(batch(x.to(at::kFloat), y));
  EXPECT_EQ(facts.duplicates, 2);
  EXPECT_EQ(facts.contradictions, 1);
  EXPECT_THAT(facts.words(), Contains(HasSubstr("2 of 50 examples")));
  EXPECT_THAT(facts.words(), Contains(HasSubstr("1 of them another target: noise")));
}

TEST(DataFacts, KnowsClassesAndTheirSizes) {
  Tensor y = at::tensor({0, 0, 0, 0, 0, 0, 0, 0, 5, 7}, at::kLong);
  auto facts = data_facts(batch(normal({10, 4}), y));
  EXPECT_EQ(facts.classes, 3);
  EXPECT_DOUBLE_EQ(facts.largest_class, 0.8);
  EXPECT_DOUBLE_EQ(facts.smallest_class, 0.1);
  EXPECT_THAT(facts.words(), Contains(HasSubstr("80 % of the examples to 10 %")));
}

TEST(DataFacts, SeesConstantInputsAndAMeanThatSticksOut) {
  Tensor x = normal({300, 20}) + 5;
  x.select(1, 7).fill_(0.1);
  auto facts = data_facts(batch(x, normal({300, 1})));
  EXPECT_EQ(facts.constant_inputs, 1);
  EXPECT_THAT(facts.words(), Contains(HasSubstr("1 of 20 inputs never change")));
  EXPECT_THAT(facts.words(), Contains(HasSubstr("data.normalize = true")));
}

TEST(DataFacts, HasNoWordsForHealthyData) {
  EXPECT_THAT(data_facts(batch(normal({300, 20}), at::arange(300, at::kLong) % 4)).words(), IsEmpty());
}

TEST(DataFacts, LeavesIndicesAlone) {
  auto facts = data_facts(batch(at::arange(40, at::kLong).reshape({10, 4}), at::arange(10, at::kLong) % 2));
  EXPECT_TRUE(std::isnan(facts.leading_share));
  EXPECT_EQ(facts.inputs, 4);
  EXPECT_EQ(facts.classes, 2);
}

// Two classes on the two sides of a plane; 20 % of the labels flipped.
TEST(DataFacts, LabelsThatWereFlippedDisagreeWithTheirNeighbours) {
  Tensor x = normal({2000, 8}), clean = (x.select(1, 0) > 0).to(at::kLong);
  auto without = data_facts(batch(x, clean));
  EXPECT_LT(without.disagree.high, 0.05);
  EXPECT_GT(without.clear_surroundings, 500);
  EXPECT_THAT(without.words(), IsEmpty());
  Tensor flip = RandomStream(4, "flips").uniform({2000}) < 0.2;
  auto with = data_facts(batch(x, at::where(flip, 1 - clean, clean)));
  EXPECT_LE(with.disagree.low, 0.2 + 0.05);  // those near the plane disagree as well
  EXPECT_GE(with.disagree.high, 0.2);
  EXPECT_THAT(with.words(), Contains(HasSubstr("Labels disagree with those of inputs nearby")));
}

// By the definition, one example after the other.
TEST(DataFacts, DisagreementIsThatOfTheTenNearest) {
  Tensor x = normal({60, 2}), y = (x.select(1, 0) > 0.3).to(at::kLong);
  y[7] = 1 - y[7].item<int64_t>();
  int64_t clear = 0, other = 0;
  for (int64_t i = 0; i < 60; ++i) {
    Tensor order = std::get<1>((x - x[i]).square().sum(1).sort());
    int64_t ones = 0;
    for (int64_t k = 1; k <= 10; ++k) ones += y[order[k].item<int64_t>()].item<int64_t>();
    if (ones > 2 && ones < 8) continue;
    ++clear;
    other += y[i].item<int64_t>() != (ones >= 8 ? 1 : 0);
  }
  auto facts = data_facts(batch(x, y));
  EXPECT_EQ(facts.clear_surroundings, clear);
  EXPECT_GE(other, 1);
  EXPECT_DOUBLE_EQ(facts.disagree.value, static_cast<double>(other) / static_cast<double>(clear));
}

}  // namespace
}  // namespace osculant
