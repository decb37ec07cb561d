#include "osculant/spectrum/rank.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "osculant/base/error.h"
#include "osculant/base/testing.h"
#include "osculant/spectrum/testing.h"

namespace osculant {
namespace {

using testing::cat;
using testing::rotated_diagonal;

struct Truth {
  int64_t numerical;
  double stable, effective, participation;
};
Truth truth_of(const Tensor& l, double threshold) {
  Tensor size = l.abs(), p = size / size.sum();
  double largest = size.max().item<double>();
  return {(size > threshold * largest).sum().item<int64_t>(), (size / largest).square().sum().item<double>(),
          std::exp(-at::xlogy(p, p).sum().item<double>()), 1 / p.square().sum().item<double>()};
}

bool holds(const Measured& x, double truth) {
  return x.low <= truth * (1 + 1e-10) && truth <= x.high * (1 + 1e-10);
}

TEST(Rank, OfAnOperatorThatIsFormedIsExact) {
  for (auto& [name, l] : testing::spectra(80)) {
    SCOPED_TRACE(name);
    auto result = rank(*rotated_diagonal(l, 1), {.threshold = 1e-3});
    Truth truth = truth_of(l, 1e-3);
    EXPECT_TRUE(result.exact);
    EXPECT_EQ(result.numerical.low, truth.numerical);
    EXPECT_EQ(result.numerical.high, truth.numerical);
    EXPECT_NEAR(result.stable.value, truth.stable, 1e-9);
    EXPECT_NEAR(result.effective.value, truth.effective, 1e-9 * truth.effective);
    EXPECT_NEAR(result.participation.value, truth.participation, 1e-9 * truth.participation);
    EXPECT_EQ(result.rank_one, Answer::no);
    EXPECT_EQ(result.products, 80);
  }
}

TEST(Rank, OfALargeOperatorHoldsTheTruth) {
  std::vector<int> held(5, 0);
  int runs = 0;
  for (auto& [name, l] : testing::spectra(300))
    for (uint64_t seed = 0; seed < 5; ++seed, ++runs) {
      auto A = rotated_diagonal(l, seed);
      double threshold = 0.02;
      auto result = rank(*A, {.threshold = threshold,
                              .norm_probes = 20,
                              .sample = {.steps = 30, .probes = 5, .dense_limit = 0},
                              .seed = seed});
      Truth truth = truth_of(l, threshold);
      EXPECT_FALSE(result.exact);
      EXPECT_EQ(result.products, A->products());
      held[0] += result.numerical.low <= truth.numerical && truth.numerical <= result.numerical.high;
      held[1] += holds(result.stable, truth.stable);
      held[2] += holds(result.effective, truth.effective);
      held[3] += holds(result.participation, truth.participation);
      held[4] += holds(result.frobenius, l.norm().item<double>());
    }
  for (int count : held) EXPECT_GE(count, runs * 0.87);
}

TEST(Rank, OneIsCalledByName) {
  Tensor noise = RandomStream(3, "noise").normal({299}, at::kDouble);
  auto with = [&](double share) {  // of the rest in norm_F^2
    Tensor l =
        cat({at::full({1}, -5., at::kDouble), noise * (5 * std::sqrt(share / (1 - share)) / noise.norm())});
    return rank(*rotated_diagonal(l, 2), {.sample = {.steps = 20, .probes = 3, .dense_limit = 0}});
  };
  EXPECT_EQ(with(0).rank_one, Answer::yes);
  EXPECT_EQ(with(0).numerical.high, 1);
  EXPECT_EQ(with(0.003).rank_one, Answer::yes);
  EXPECT_EQ(with(0.01).rank_one, Answer::unknown);
  EXPECT_EQ(with(0.03).rank_one, Answer::no);
  EXPECT_THAT(with(0.003).report(), ::testing::HasSubstr("Of rank one"));
}

TEST(Rank, OfLowRankIsExactFromThePairs) {
  for (auto dtype : {at::kDouble, at::kFloat}) {
    Tensor l = cat({at::tensor({9., -4., 4., 1., 0.5}, at::kDouble), at::zeros({595}, at::kDouble)});
    auto result = rank(*rotated_diagonal(l, 4, dtype), {.tolerance = 1e-6});
    EXPECT_FALSE(result.exact);
    EXPECT_EQ(result.threshold, dtype == at::kDouble ? 1e-9 : 600 * 0x1p-23);
    EXPECT_LE(result.numerical.low, 5);
    EXPECT_GE(result.numerical.high, 5);
    EXPECT_GE(result.numerical.low, 4);
    EXPECT_LE(result.numerical.high, 12);
    EXPECT_TRUE(holds(result.effective, truth_of(l, 1e-5).effective));
    auto bounded = rank(*rotated_diagonal(l, 4, dtype), {.tolerance = 1e-6, .upper_bound = 5});
    EXPECT_LE(bounded.numerical.high, 5);
  }
}

TEST(Rank, OfSingularCases) {
  for (int64_t limit : {0, 500}) {
    RankOptions options;
    options.sample.dense_limit = limit;
    auto zero = rank(*diagonal_operator(at::zeros({40}, at::kDouble)), options);
    EXPECT_EQ(zero.numerical.high, 0);
    EXPECT_EQ(zero.stable.value, 0);
    EXPECT_EQ(zero.rank_one, Answer::no);
    auto one = rank(*diagonal_operator(at::full({1}, -2., at::kDouble)), options);
    EXPECT_EQ(one.numerical.low, 1);
    EXPECT_EQ(one.numerical.high, 1);
    EXPECT_EQ(one.rank_one, Answer::yes);
    auto multiple = rank(*diagonal_operator(at::full({40}, 2., at::kDouble)), options);
    EXPECT_EQ(multiple.numerical.low, 40);
    EXPECT_NEAR(multiple.effective.value, 40, 1e-6);
    EXPECT_NEAR(multiple.participation.value, 40, 1e-6);
    auto nan = rank(*diagonal_operator(at::full({40}, NAN, at::kDouble)), options);
    EXPECT_EQ(nan.numerical.high, 40);
    EXPECT_TRUE(std::isnan(nan.stable.value));
    EXPECT_EQ(nan.rank_one, Answer::unknown);
    EXPECT_THAT(nan.report(), ::testing::HasSubstr("unknown"));
  }
  EXPECT_THAT(message_of([] { rank(*diagonal_operator(at::ones({3}, at::kDouble)), {.threshold = 2}); },
                         ErrorKind::usage),
              ::testing::HasSubstr("threshold = 2"));
}

TEST(Rank, SaysWhereTheThresholdComesFrom) {
  EXPECT_EQ(default_rank_threshold(100, VectorSpace(100, at::kDouble)), 1e-9);
  EXPECT_EQ(default_rank_threshold(100, VectorSpace(100, at::kFloat)), 100 * 0x1p-23);
  EXPECT_EQ(default_rank_threshold(10, VectorSpace(10, at::kFloat)), 1e-5);
  EXPECT_DOUBLE_EQ(default_rank_threshold(10000000, VectorSpace(10000000, at::kDouble)), 1e7 * 0x1p-52);
  auto report = rank(*diagonal_operator(at::tensor({1., 1e-12}, at::kDouble)), {.upper_bound = 1}).report();
  EXPECT_THAT(report, ::testing::HasSubstr("1 eigenvalues beyond 1e-09 of the largest; at most 1 by theory"));
}

}  // namespace
}  // namespace osculant
