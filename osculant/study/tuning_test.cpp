#include "osculant/study/tuning.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "osculant/base/error.h"

namespace osculant {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(TuningValues, AreSpacedByFactorsAroundTheDefault) {
  EXPECT_THAT(tuning_values(find_method("adam"), {}, 5), ElementsAre(0.001, 0.003, 0.0003, 0.01, 0.0001));
  EXPECT_THAT(tuning_values(find_method("hessian_free"), {}, 4), ElementsAre(1, 10, 0.1, 100));
  EXPECT_THAT(tuning_values(find_method("lbfgs"), {}, 5), IsEmpty());
  EXPECT_THAT(tuning_values(find_method("adam"), {{"learning_rate", 0.1}}, 5), IsEmpty());
  EXPECT_THAT(tuning_values(find_method("adam"), {{"beta1", 0.8}}, 1), ElementsAre(0.001));
}

TEST(TuningValues, LeaveOutWhatTheMethodRefuses) {
  MethodInfo method = find_method("sgd");
  auto make = method.make;
  method.make = [make](const OptionMap& options) {
    if (std::get<double>(options.at("learning_rate")) > 0.05) fail_usage("too large");
    return make(options);
  };
  EXPECT_THAT(tuning_values(method, {}, 5), ElementsAre(0.01, 0.03, 0.003, 0.001, 0.0003));
}

ContestantRecord trial(std::string status, double spent, double loss) {
  ContestantRecord record;
  record.status = status;
  if (status == "reached" || status == "missed") record.reached = status == "reached";
  record.seconds = spent;
  record.gradient_equivalents = 1 / spent;
  record.final = {{"loss", loss}};
  return record;
}

TEST(BestTrial, IsTheFirstAtTheTargetElseTheOneThatEndsBest) {
  ComparisonRecord time;
  time.budget = "10s";
  time.metric = "loss";
  std::vector<ContestantRecord> trials{trial("missed", 10, 0.1), trial("reached", 4, 0.3),
                                       trial("reached", 2, 0.4), trial("failed", 1, 0)};
  EXPECT_EQ(best_trial(trials, time), 2u);
  ComparisonRecord work = time;
  work.budget = "10ge";
  EXPECT_EQ(best_trial(trials, work), 1u);
  std::vector<ContestantRecord> none{trial("missed", 10, std::nan("")), trial("missed", 10, 0.3),
                                     trial("missed", 10, 0.2), trial("failed", 10, 0)};
  EXPECT_EQ(best_trial(none, time), 2u);
  time.higher_is_better = true;
  EXPECT_EQ(best_trial(none, time), 1u);
  EXPECT_EQ(best_trial({trial("failed", 1, 0), trial("failed", 1, -1)}, time), 0u);
  EXPECT_EQ(best_trial({trial("done", 1, 0.5), trial("done", 1, 0.5)}, time), 0u);
}

}  // namespace
}  // namespace osculant
