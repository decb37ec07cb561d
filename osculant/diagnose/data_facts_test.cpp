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

}  // namespace
}  // namespace osculant
