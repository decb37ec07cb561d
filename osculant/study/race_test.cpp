#include "osculant/study/race.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn.h>

#include <csignal>

#include "osculant/base/error.h"
#include "osculant/base/interrupt.h"
#include "osculant/optim/methods.h"
#include "osculant/optim/testing.h"

namespace osculant {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Objective with_dropout() {
  torch::manual_seed(2);
  torch::nn::Sequential net(torch::nn::Linear(2, 8), torch::nn::Dropout(0.3), torch::nn::Linear(8, 1));
  net->to(torch::kFloat64);
  return Objective(net, MeanSquaredError(), testing::small_data().batches(16));
}

std::vector<Contestant> some_contestants() {
  MinimizeOptions options{.budget = gradient_equivalents(20), .seed = 4, .batch_size = 16};
  return {{"adam", methods::adam(), with_dropout(), options},
          {"hessian_free", methods::hessian_free(), testing::small_mlp(), options},
          {"momentum", methods::momentum(), with_dropout(), options}};
}

TEST(Race, TakingTurnsChangesNoBits) {
  auto together = some_contestants();
  auto results = race(together, {.slice = 1e-6});
  auto alone = some_contestants();
  for (size_t i = 0; i < alone.size(); ++i) {
    torch::manual_seed(4);
    auto summary = minimize(alone[i].objective, alone[i].method, alone[i].options);
    EXPECT_TRUE(together[i].objective.layout().theta().equal(alone[i].objective.layout().theta()))
        << alone[i].label;
    EXPECT_EQ(results[i].summary->final_loss, summary.final_loss);
    EXPECT_EQ(results[i].summary->steps, summary.steps);
    EXPECT_EQ(results[i].trajectory.back().loss, summary.final_loss);
    EXPECT_EQ(results[i].trajectory.front().step, 0);
  }
}

TEST(Race, LeavesTheGlobalGeneratorAlone) {
  torch::manual_seed(9);
  auto expected = at::rand({3});
  torch::manual_seed(9);
  auto contestants = some_contestants();
  torch::manual_seed(9);
  race(contestants);
  EXPECT_TRUE(at::rand({3}).equal(expected));
}

TEST(Race, SlowAndFastContestantsTakeTurns) {
  std::vector<std::vector<int64_t>> seen;
  RaceOptions options{.slice = 1e-6, .on_turn = [&](const std::vector<Standing>& standings) {
                        std::vector<int64_t> steps;
                        for (const auto& standing : standings) steps.push_back(standing.steps);
                        seen.push_back(steps);
                      }};
  race(some_contestants(), options);
  EXPECT_THAT(seen[0], ElementsAre(1, 0, 0));
  EXPECT_THAT(seen[1], ElementsAre(1, 1, 0));
  EXPECT_THAT(seen[2], ElementsAre(1, 1, 1));
  EXPECT_THAT(seen[3], ElementsAre(2, 1, 1));
}

TEST(Race, FailuresHarmNobody) {
  Tensor x = torch::ones({1}, testing::f64()).requires_grad_();
  auto quartic = Objective::function({{"x", x}}, [x] { return x.pow(4).sum() / 4; });
  MinimizeOptions options{.budget = gradient_equivalents(20), .seed = 4, .batch_size = 16};
  auto contestants = some_contestants();
  contestants.insert(
      contestants.begin(),
      {{"diverges", methods::sgd({.learning_rate = 1e30}), quartic, options},
       {"cannot", methods::levenberg_marquardt(), quartic, options},
       {"refuses", Method("refuses", [](const auto&) -> MethodParts { fail_usage("not for this network"); }),
        testing::small_mlp(), options}});
  std::vector<size_t> ended;
  auto results =
      race(contestants, {.slice = 1e-6, .on_end = [&](size_t i, const RaceResult&) { ended.push_back(i); }});
  EXPECT_EQ(results[0].summary->reason, StopReason::numerical_failure);
  EXPECT_FALSE(results[1].summary);
  EXPECT_THAT(results[1].failure, HasSubstr("outputs"));
  EXPECT_THAT(results[2].failure, HasSubstr("not for this network"));
  EXPECT_EQ(ended.size(), 6u);
  auto healthy = some_contestants();
  auto without = race(healthy);
  for (size_t i = 0; i < healthy.size(); ++i)
    EXPECT_EQ(results[3 + i].summary->final_loss, without[i].summary->final_loss);
}

TEST(Race, BugsAndFullDisksAreNoFailuresOfAContestant) {
  Method broken("broken", [](const auto&) -> MethodParts { fail(ErrorKind::internal, "a bug"); });
  EXPECT_THROW(race({{"broken", broken, testing::small_mlp(), {.steps = 3}}}), Error);
}

TEST(Race, LongTrajectoriesAreThinnedEvenly) {
  auto q = testing::quadratic(torch::tensor({1.0, 2.0}, testing::f64()));
  auto results = race({{"sgd", methods::sgd(), q.objective, {.steps = 2300}}});
  const auto& points = results[0].trajectory;
  ASSERT_LE(points.size(), 1001u);
  ASSERT_GT(points.size(), 400u);
  EXPECT_EQ(points.front().step, 0);
  EXPECT_EQ(points.back().step, 2300);
  for (size_t i = 1; i + 1 < points.size(); ++i) EXPECT_EQ(points[i].step, 4 * static_cast<int64_t>(i));
}

TEST(Race, AnInterruptionEndsAllWhereTheyAre) {
  int turns = 0;
  bool any_ended = false;
  RaceOptions options{.slice = 1e-6,
                      .on_turn =
                          [&](const std::vector<Standing>&) {
                            if (++turns == 5) request_interrupt(SIGINT);
                          },
                      .on_end = [&](size_t, const RaceResult&) { any_ended = true; }};
  auto results = race(some_contestants(), options);
  clear_interrupt();
  EXPECT_FALSE(any_ended);
  std::vector<int64_t> steps;
  for (const auto& result : results) {
    ASSERT_TRUE(result.summary);
    EXPECT_EQ(result.summary->reason, StopReason::interrupted);
    steps.push_back(result.summary->steps);
  }
  EXPECT_THAT(steps, ElementsAre(2, 2, 1));
}

}  // namespace
}  // namespace osculant
