#include "osculant/study/adviser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace osculant {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

TrainingFacts curve_fit() {
  return {.parameters = 61,
          .examples = 2000,
          .outputs = 1,
          .layers = 2,
          .matrix_share = 0,
          .bytes_per_number = 8,
          .least_squares = true,
          .gradient_seconds = 1e-3,
          .memory_budget = int64_t{1} << 30};
}

TrainingFacts classifier() {
  return {.parameters = 235146,
          .examples = 60000,
          .outputs = 10,
          .layers = 3,
          .matrix_share = 0.99,
          .bytes_per_number = 4,
          .gradient_seconds = 0.4,
          .memory_budget = int64_t{1} << 32};
}

const MethodAdvice& of(const std::vector<MethodAdvice>& all, const std::string& method) {
  return *std::find_if(all.begin(), all.end(), [&](const auto& m) { return m.method == method; });
}

TEST(Adviser, RanksEveryMethodThereIs) {
  auto all = advise_methods(classifier());
  EXPECT_EQ(all.size(), method_table().size());
  for (const auto& m : all) EXPECT_FALSE(m.reason.empty()) << m.method;
}

TEST(Adviser, TakesLeastSquaresForWhatTheyAre) {
  auto all = advise_methods(curve_fit());
  EXPECT_EQ(all.front().method, "levenberg_marquardt");
  EXPECT_EQ(all.front().batch_size, "full");
  EXPECT_THAT(all.front().reason, HasSubstr("2,000 residuals and 61 parameters"));
  auto other = curve_fit();
  other.least_squares = false;
  auto without = advise_methods(other);
  EXPECT_NE(without.front().method, "levenberg_marquardt");
  EXPECT_TRUE(of(without, "levenberg_marquardt").runs) << "the loss's Hessian in the outputs takes its place";
  EXPECT_GT(of(without, "levenberg_marquardt").merit, of(without, "lbfgs").merit);
  EXPECT_GT(of(without, "levenberg_marquardt").seconds, 0);
  EXPECT_THAT(of(without, "levenberg_marquardt").reason, HasSubstr("2,000 outputs and 61 parameters"));
}

TEST(Adviser, SpeaksInSentences) {
  auto facts = curve_fit();
  EXPECT_EQ(of(advise_methods(facts), "newton").reason,
            "A Hessian of 61 x 61 numbers is cheap, and steps on all 2,000 examples see no noise.");
  facts.parameters = 1044;
  EXPECT_EQ(of(advise_methods(facts), "newton").reason,
            "A Hessian of 1,044 x 1,044 numbers takes its time, but steps on all examples see no noise.");
  EXPECT_THAT(of(advise_methods(facts), "inverse_correction").reason, Not(HasSubstr("classifier")));
  EXPECT_THAT(of(advise_methods(facts), "kfac").reason, HasSubstr("matrices and kernels with at least 16"));
}

TEST(Adviser, NamesNoMethodOfSingleExamplesWhereABatchCouplesThem) {
  auto facts = classifier();
  facts.coupled = true;
  auto all = advise_methods(facts);
  EXPECT_FALSE(of(all, "kfac").runs);
  EXPECT_THAT(of(all, "ekfac").reason, HasSubstr("--set model.mode=eval"));
  EXPECT_TRUE(of(all, "adam").runs);
}

TEST(Adviser, TakesBatchesWhereThereIsMuchToSee) {
  auto all = advise_methods(classifier());
  EXPECT_NE(all.front().batch_size, "full");
  EXPECT_GT(of(all, "adam").merit, of(all, "lbfgs").merit);
  EXPECT_NEAR(of(all, "adam").seconds, 0.4 * 256 / 60000, 1e-6) << "a step costs its share of a gradient";
}

TEST(Adviser, LeavesOutWhatCannotRun) {
  auto facts = curve_fit();
  facts.memory_budget = 20000;  // a dense inverse alone takes 8 * 61^2
  EXPECT_THAT(of(advise_methods(facts), "bfgs").reason, HasSubstr("and the memory budget is 19.5 KiB"));
  facts = curve_fit();
  facts.second_derivatives = false;
  auto once = advise_methods(facts);
  EXPECT_FALSE(of(once, "hessian_free").runs);
  EXPECT_TRUE(of(once, "levenberg_marquardt").runs) << "first derivatives are enough";
  facts = curve_fit();
  facts.random = true;
  auto noisy = advise_methods(facts);
  EXPECT_FALSE(of(noisy, "lbfgs").runs);
  EXPECT_TRUE(of(noisy, "adam").runs);
  EXPECT_TRUE(std::is_partitioned(noisy.begin(), noisy.end(), [](const auto& m) { return m.runs; }));
}

TEST(Adviser, PutsDenseMatricesAsideWhereTheyAreLarge) {
  auto facts = curve_fit();
  facts.least_squares = false;
  EXPECT_THAT(advise_methods(facts).front().method, AnyOf("ssbroyden", "bfgs"));
  facts.parameters = 50000;
  auto large = advise_methods(facts);
  EXPECT_LT(of(large, "bfgs").merit, of(large, "lbfgs").merit);
}

}  // namespace
}  // namespace osculant
