#include "osculant/diagnose/step_trend.h"

#include <gtest/gtest.h>

#include <cmath>

#include "osculant/base/random.h"
#include "osculant/base/testing.h"
#include "osculant/io/archive.h"

namespace osculant {
namespace {

std::vector<double> noise(int64_t count, uint64_t seed) {
  Tensor x = RandomStream(seed, "noise").normal({count}, at::kDouble);
  return {x.data_ptr<double>(), x.data_ptr<double>() + count};
}

// norm 2^t: a factor of 2, known exactly, and log2(1.8e19 / 2^29) steps to the end of float32.
TEST(StepTrend, GrowthIsItsFactorAndTheStepsThatAreLeft) {
  StepTrend trend;
  for (int t = 0; t < 30; ++t) {
    EXPECT_EQ(trend.growth().has_value(), t > 10) << t;  // 2^10 > 1,000 times the first
    trend.add(1 + t, std::exp2(static_cast<double>(t)));
  }
  auto growth = trend.growth();
  ASSERT_TRUE(growth);
  EXPECT_NEAR(growth->factor.value, 2, 1e-12);
  EXPECT_NEAR(growth->steps_left(std::exp2(64)), 35, 1e-9);
  EXPECT_EQ(growth->steps_left(1), 0);
}

// As it grows away from a saddle.
TEST(StepTrend, AGradientThatGrowsWhileTheLossFallsIsNoTrouble) {
  StepTrend trend;
  for (int t = 0; t < 30; ++t) {
    trend.add(1 - 0.01 * t, std::exp2(static_cast<double>(t)));
    EXPECT_FALSE(trend.growth());
  }
}

TEST(StepTrend, ANormThatOnlyVariesDoesNotGrow) {
  auto z = noise(2000, 1);
  StepTrend trend;
  for (double x : z) {
    trend.add(1 + x * x, std::exp(3 * x));
    EXPECT_FALSE(trend.growth());
  }
}

// A loss with standard deviation 0.2 round 1 - 0.1 [second half]: the fall is 0.1 / 0.95.
TEST(StepTrend, IntervalsOfTheFallHoldTheTruthAsOftenAsTheySay) {
  int covered = 0;
  constexpr int runs = 300;
  for (uint64_t seed = 0; seed < runs; ++seed) {
    StepTrend trend(160);
    EXPECT_FALSE(trend.relative_fall());
    auto z = noise(160, seed);
    for (size_t t = 0; t < z.size(); ++t) trend.add((t < 80 ? 1 : 0.9) + 0.2 * z[t], 1);
    auto fall = trend.relative_fall();
    covered += fall->low <= 0.1 / 0.95 && 0.1 / 0.95 <= fall->high;
  }
  EXPECT_GE(covered, 0.92 * runs);
  EXPECT_LE(covered, 0.985 * runs);
}

TEST(StepTrend, MeansAreThoseOfTenSteps) {
  StepTrend trend(100);
  for (int t = 1; t <= 25; ++t) trend.add(t, 1);
  EXPECT_DOUBLE_EQ(trend.first_loss(), 5.5);
  EXPECT_DOUBLE_EQ(trend.earlier_loss(), 10.5);
  EXPECT_DOUBLE_EQ(trend.recent_loss(), 20.5);
}

TEST(StepTrend, GoesOnFromAnArchive) {
  auto z = noise(60, 3);
  StepTrend whole(40), first(40), second(40);
  for (size_t t = 0; t < z.size(); ++t) {
    whole.add(z[t] + 0.1 * static_cast<double>(t), std::exp2(static_cast<double>(t)));
    if (t < 30) first.add(z[t] + 0.1 * static_cast<double>(t), std::exp2(static_cast<double>(t)));
  }
  Archive archive("test", 1);
  first.save(archive);
  second.load(archive);
  for (size_t t = 30; t < z.size(); ++t)
    second.add(z[t] + 0.1 * static_cast<double>(t), std::exp2(static_cast<double>(t)));
  EXPECT_EQ(whole.relative_fall()->high, second.relative_fall()->high);
  EXPECT_EQ(whole.growth()->factor.low, second.growth()->factor.low);
  EXPECT_EQ(whole.first_loss(), second.first_loss());
  EXPECT_EQ(whole.count(), second.count());
}

}  // namespace
}  // namespace osculant
