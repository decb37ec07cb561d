#include "osculant/study/verdict.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace osculant {
namespace {

using ::testing::HasSubstr;

constexpr double never = std::numeric_limits<double>::infinity();

void expect_spread(const SpreadRecord& s, double median, double low, double high) {
  EXPECT_DOUBLE_EQ(s.median, median);
  EXPECT_DOUBLE_EQ(s.low, low);
  EXPECT_DOUBLE_EQ(s.high, high);
}

TEST(Spread, CountsMissesAsInfinity) {
  expect_spread(spread({3, 1, 2}), 2, 1, 3);
  expect_spread(spread({4, 1, 2, 3}), 2.5, 1, 4);
  expect_spread(spread({never, 1, 2}), 2, 1, never);
  expect_spread(spread({never, 1, never}), never, 1, never);
  expect_spread(spread({never, 1}), never, 1, never);
  expect_spread(spread({std::nan(""), 1, 2}), 2, 1, never);
  expect_spread(spread({}), never, never, never);
}

// Seconds to the target; negative: missed.
void add(ComparisonRecord& comparison, const std::string& method, std::vector<double> seconds, double loss) {
  for (size_t i = 0; i < seconds.size(); ++i) {
    ContestantRecord run;
    run.method = method;
    run.seed = static_cast<int64_t>(i);
    run.reached = seconds[i] > 0;
    run.status = *run.reached ? "reached" : "missed";
    run.seconds = std::abs(seconds[i]);
    run.gradient_equivalents = 100 / run.seconds;
    run.final = {{"loss", loss + 0.01 * static_cast<double>(i)}};
    comparison.runs.push_back(run);
  }
}

ComparisonRecord race_to(const std::string& target) {
  ComparisonRecord comparison;
  comparison.budget = "10s";
  comparison.target = target;
  comparison.metric = "loss";
  comparison.seeds = 3;
  return comparison;
}

std::vector<std::string> order(const ComparisonRecord& comparison) {
  std::vector<std::string> methods;
  for (const auto& row : comparison.verdict) methods.push_back(row.method);
  return methods;
}

TEST(Verdict, TheMedianTimeToTheTargetDecides) {
  auto comparison = race_to("loss <= 0.5");
  add(comparison, "often", {1, -10, 2}, 0.4);
  add(comparison, "always", {4, 5, 6}, 0.4);
  add(comparison, "once", {0.1, -10, -10}, 0.6);
  add(comparison, "near", {-10, -10, -10}, 0.55);
  add(comparison, "far", {-10, -10, -10}, 3);
  judge(comparison, {{"often", "learning_rate = 0.1"}});
  EXPECT_EQ(order(comparison), (std::vector<std::string>{"often", "always", "once", "near", "far"}));
  const auto& first = comparison.verdict[0];
  EXPECT_EQ(first.tuned, "learning_rate = 0.1");
  EXPECT_EQ(first.reached, 2);
  EXPECT_EQ(first.runs, 3);
  expect_spread(first.seconds, 2, 1, never);
  expect_spread(first.gradient_equivalents, 100, 50, never);
  expect_spread(first.value, 0.41, 0.4, 0.42);
  EXPECT_THAT(comparison.words,
              HasSubstr("often is first to loss <= 0.5: 2.00 s (1.00 s to missed), 2.5 times as "
                        "fast as always; but their spreads overlap."));
  auto text = to_text(comparison);
  EXPECT_THAT(text, HasSubstr("2 of 3"));
  EXPECT_THAT(text, HasSubstr("missed"));

  comparison.budget = "100ge";
  judge(comparison, {});
  EXPECT_EQ(order(comparison)[0], "always");
  EXPECT_THAT(comparison.words, HasSubstr("always is first to loss <= 0.5: 20 ge"));
}

TEST(Verdict, SaysWhenNobodyIsThere) {
  auto comparison = race_to("loss <= 0.5");
  add(comparison, "far", {-10, -10, -10}, 3);
  add(comparison, "near", {-10, -10, -10}, 0.55);
  judge(comparison, {});
  EXPECT_THAT(comparison.words, HasSubstr("No method reached loss <= 0.5 within 10s; the nearest is near"));
  add(comparison, "once", {1, -10, -10}, 5);
  judge(comparison, {});
  EXPECT_THAT(comparison.words, HasSubstr("once did in 1 of 3"));
}

TEST(Verdict, WithoutATargetTheEndDecides) {
  auto comparison = race_to("");
  add(comparison, "a", {1, 1, 1}, 0.3);
  add(comparison, "b", {1, 1, 1}, 0.1);
  add(comparison, "c", {1, 1, 1}, 0.001);
  for (auto& run : comparison.runs) {
    run.reached.reset();
    run.status = run.method == "c" ? "failed" : "done";
  }
  comparison.runs.back().stop = {"numerical_failure", "10 steps in a row were not finite"};
  judge(comparison, {});
  EXPECT_EQ(order(comparison), (std::vector<std::string>{"b", "a", "c"}));
  EXPECT_EQ(comparison.verdict[2].failed, 3);
  EXPECT_EQ(comparison.verdict[2].value.median, never);
  EXPECT_EQ(comparison.words, "b ends best after 10s: loss 0.11 (0.1 to 0.12); next a: 0.31 (0.3 to 0.32).");
  EXPECT_THAT(to_text(comparison), HasSubstr("c failed (seed 2): 10 steps in a row were not finite"));
  comparison.higher_is_better = true;
  judge(comparison, {});
  EXPECT_EQ(order(comparison), (std::vector<std::string>{"a", "b", "c"}));
}

TEST(Verdict, LeavesOutWhatWasInterrupted) {
  auto comparison = race_to("loss <= 0.5");
  add(comparison, "a", {1, 2, 3}, 0.4);
  comparison.runs.back().status = "interrupted";
  comparison.runs.back().reached = false;
  judge(comparison, {});
  EXPECT_EQ(comparison.verdict[0].runs, 2);
  expect_spread(comparison.verdict[0].seconds, 1.5, 1, 2);
}

}  // namespace
}  // namespace osculant
