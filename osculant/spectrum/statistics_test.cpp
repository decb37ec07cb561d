#include "osculant/spectrum/statistics.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include "osculant/base/random.h"
#include "osculant/spectrum/ritz.h"

namespace osculant {
namespace {

// `count` draws without replacement.
std::vector<double> draw(const at::Tensor& population, int64_t count, uint64_t seed) {
  auto order = RandomStream(seed, "draws").permutation(population.numel()).narrow(0, 0, count);
  return to_vector(population.index_select(0, order));
}

TEST(MeanOfBounded, CoversWhateverThePopulation) {
  at::Tensor rare = at::ones({1000}, at::kDouble), two = at::full({1000}, 0.98, at::kDouble);
  rare.narrow(0, 0, 15).zero_();
  two.narrow(0, 0, 50).fill_(0.1);
  for (const auto& population : {rare, two, RandomStream(1, "u").uniform({1000}, at::kDouble)}) {
    double mean = population.mean().item<double>(), width = 0;
    int covered = 0;
    for (uint64_t seed = 0; seed < 200; ++seed) {
      auto [low, high] = mean_of_bounded(draw(population, 60, seed), 1000, 0.95);
      covered += low <= mean && mean <= high;
      width += (high - low) / 200;
    }
    EXPECT_GE(covered, 190);
    EXPECT_LT(width, 0.25);
  }
}

// 60 equal draws leave room for about log(2 / 0.05) / 60 of others, as for any interval that always holds.
TEST(MeanOfBounded, KnowsWhatItHasNotSeen) {
  auto [low, high] = mean_of_bounded(std::vector<double>(60, 1.0), 100000, 0.95);
  EXPECT_EQ(high, 1);
  EXPECT_GT(low, 0.85);
  EXPECT_LT(low, 0.96);
  auto nothing = mean_of_bounded({}, 10, 0.95);
  EXPECT_EQ(nothing.first, 0);
  EXPECT_EQ(nothing.second, 1);
}

// Of 100 numbers 90 are known: the mean lies within what the 10 others can make of it.
TEST(MeanOfBounded, CountsWhatIsLeftToDraw) {
  auto [low, high] = mean_of_bounded(std::vector<double>(90, 0.5), 100, 0.95);
  EXPECT_GE(low, 0.45 - 1e-9);
  EXPECT_LE(high, 0.55 + 1e-9);
}

}  // namespace
}  // namespace osculant
