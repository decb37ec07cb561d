#include "osculant/study/comparison.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>
#include <cmath>
#include <csignal>

#include <filesystem>

#include "osculant/base/interrupt.h"
#include "osculant/base/testing.h"
#include "osculant/optim/minimizer.h"
#include "osculant/study/contestant_log.h"
#include "osculant/study/contestants.h"

namespace osculant {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ComparisonTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              ("osculant_comparison_" + std::to_string(getpid()) + "_" +
               ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(folder_);
  }
  void TearDown() override {
    clear_interrupt();
    std::filesystem::remove_all(folder_);
  }

  Result run(RunConfig config, const std::string& name, const ShowComparison& show = {}) {
    Problem problem = load_problem(config);
    plan_ = plan_comparison(problem, config);
    bool resume = std::filesystem::exists(folder_ / name);
    ResultDirectory folder((folder_ / name).string(), Existing::resume);
    return compare(problem, config, folder, resume, show);
  }

  std::filesystem::path folder_;
  PlanRecord plan_;
};

// A linear model of the three-bit parity, which no input is correlated with: all eight corners of the cube,
// so the Hessian of the mean squared error is 2 I, and gradient descent contracts by abs(1 - 2 eta) a step.
RunConfig parity(const std::string& rest) {
  RunConfig config;
  config.read_text(
      "[model]\nkind = \"mlp\"\nwidths = [3, 1]\n[data]\nkind = \"parity\"\ninputs = 3\n[loss]\nkind = "
      "\"mse\"\n"
      "[run]\ndtype = \"float64\"\nseed = 5\n" +
          rest,
      "run.toml");
  return config;
}

TEST_F(ComparisonTest, TunesToTheBestStepOnAQuadratic) {
  auto config = parity(
      "[train]\nbudget = \"20ge\"\n[compare]\nmethods = [\"sgd\", \"adam:learning_rate=0.05\", \"lbfgs\"]\n"
      "seeds = 2\ntune = 7\n");
  auto result = run(config, "a");
  const auto& comparison = *result.comparison;
  EXPECT_EQ(result.status, "done");
  EXPECT_THAT(plan_.words, HasSubstr("3 methods, 7 tuning trials of 5 ge and 2 seeds of 20 ge each"));
  EXPECT_DOUBLE_EQ(plan_.gradient_equivalents, 7 * 5 + 3 * 2 * 20);
  ASSERT_EQ(comparison.trials.size(), 7u);  // of 0.01, 0.03, 0.003, 0.1, 0.001, 0.3, 0.0003
  for (const auto& trial : comparison.trials) EXPECT_EQ(trial.steps, 5);
  ASSERT_EQ(comparison.runs.size(), 6u);
  EXPECT_EQ(comparison.runs[0].options, (OptionMap{{"learning_rate", 0.3}}));
  EXPECT_EQ(comparison.runs[1].options, (OptionMap{{"learning_rate", 0.05}}));
  EXPECT_EQ(comparison.runs[2].options, OptionMap{});
  std::map<std::string, std::string> tuned;
  for (const auto& row : comparison.verdict) tuned[row.method] = row.tuned;
  EXPECT_EQ(tuned["sgd"], "learning_rate = 0.3");
  EXPECT_EQ(tuned["adam:learning_rate=0.05"], "learning_rate given");
  EXPECT_EQ(tuned["lbfgs"], "has no tuning axis");

  // Each run is the one that `train` makes.
  for (const auto& r : comparison.runs) {
    Problem problem = load_problem(config);
    for (const auto& entry : read_entries(config)) {
      if (entry.label != r.method) continue;
      RunConfig own = training_config(config, entry, r.options, r.seed);
      own.train.batch_size = "full";
      Problem alone = with_own_model(problem, own, problem.memory_budget);
      auto contestant = make_contestant(alone, own, entry.label);
      auto summary = minimize(contestant.objective, contestant.method, contestant.options);
      EXPECT_EQ(summary.final_loss, r.final.at("loss")) << r.method;
      EXPECT_EQ(summary.steps, r.steps);
      EXPECT_EQ(summary.initial_loss, r.trajectory.front().values.at("loss"));
    }
  }
  EXPECT_NE(comparison.runs[0].trajectory[0].values,
            comparison.runs[3].trajectory[0].values);  // another seed
}

std::vector<double> losses(const Result& result) {
  std::vector<double> all;
  for (const auto* list : {&result.comparison->trials, &result.comparison->runs})
    for (const auto& r : *list)
      for (const auto& point : r.trajectory) all.push_back(point.values.at("loss"));
  return all;
}

TEST_F(ComparisonTest, GoesOnAfterAnInterruptionToTheSameBits) {
  auto config = parity(
      "[train]\nbudget = \"12ge\"\ntarget = \"loss<=1.001\"\n[compare]\nmethods = [\"sgd\", "
      "\"hessian_free\"]\n"
      "seeds = 2\ntune = 3\n");
  auto whole = run(config, "whole");
  for (std::string phase : {"tuning, trial 2 of 3", "seed 1 of 2"}) {
    SCOPED_TRACE(phase);
    auto stop = [&](const ComparisonStatus& status) {
      if (status.phase == phase && status.standings[0].end.empty() == false) request_interrupt(SIGINT);
    };
    auto part = run(config, phase, stop);
    clear_interrupt();
    EXPECT_EQ(part.status, "interrupted");
    EXPECT_LT(losses(part).size(), losses(whole).size());
    std::vector<std::string> phases;
    auto rest = run(config, phase, [&](const ComparisonStatus& status) { phases.push_back(status.phase); });
    EXPECT_EQ(rest.status, "done");
    EXPECT_EQ(losses(rest), losses(whole));
    EXPECT_THAT(phases, ::testing::Not(::testing::Contains("tuning, trial 1 of 3")));
    EXPECT_EQ(rest.comparison->runs[0].options, whole.comparison->runs[0].options);
  }
}

TEST_F(ComparisonTest, FailsWhenEveryMethodDoes) {
  auto result = run(
      parity("[train]\nbudget = \"200ge\"\n[compare]\nmethods = [\"sgd:learning_rate=1e30\"]\nseeds = 1\n"),
      "a");
  EXPECT_EQ(result.status, "failed");
  EXPECT_EQ(result.comparison->runs[0].status, "failed");
  EXPECT_EQ(result.comparison->words, "Every method failed.");
}

RunConfig with_methods(const std::string& methods) {
  RunConfig config;
  config.set("compare.methods", methods, "--methods");
  return config;
}

TEST(Entries, AreReadWithTheirOptions) {
  auto entries = read_entries(with_methods(
      "adam,sgd:learning_rate=0.1,weight_decay=1e-4,hessian_free:batch_size=full,backtrack=false"));
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_EQ(entries[0].label, "adam");
  EXPECT_EQ(entries[1].label, "sgd:learning_rate=0.1,weight_decay=1e-4");
  EXPECT_EQ(entries[1].options, (OptionMap{{"learning_rate", 0.1}, {"weight_decay", 1e-4}}));
  EXPECT_EQ(entries[2].batch_size, "full");
  EXPECT_EQ(entries[2].options, (OptionMap{{"backtrack", false}}));
  RunConfig file;
  file.read_text("[compare]\nmethods = [\"sgd:learning_rate=0.1,weight_decay=1e-4\", \"adam\"]\n",
                 "run.toml");
  EXPECT_EQ(read_entries(file)[0].options.size(), 2u);
  EXPECT_EQ(read_entries(file)[1].label, "adam");
}

TEST(Entries, AreRefusedByName) {
  auto refusal = [](const std::string& methods) {
    return message_of([&] { read_entries(with_methods(methods)); }, ErrorKind::usage);
  };
  EXPECT_THAT(refusal("adam,adma"),
              HasSubstr("--methods: compare.methods: method \"adma\": unknown (did you mean adam?)"));
  EXPECT_THAT(refusal("sgd:learning_rat=1"), HasSubstr("learning_rat"));
  EXPECT_THAT(refusal("sgd:learning_rate=-1"), HasSubstr("must be > 0"));
  EXPECT_THAT(refusal("sgd:fast"), HasSubstr("\"fast\" must be OPTION=VALUE"));
  EXPECT_THAT(refusal("sgd,adam,sgd"), HasSubstr("sgd comes twice"));
  EXPECT_THAT(refusal("learning_rate=1,sgd"), HasSubstr("no method is named before it"));
  EXPECT_THAT(message_of([] { read_entries({}); }, ErrorKind::usage),
              HasSubstr("--methods adam,hessian_free"));
}

TEST(ContestantLine, IsReadBackToTheBit) {
  ContestantRecord c;
  c.method = "sgd:learning_rate=0.1";
  c.seed = 7;
  c.options = {{"learning_rate", 0.1}, {"nesterov", true}, {"inverse", std::string("absolute")}};
  c.status = "missed";
  c.stop = {"budget", "12 ge of 12 ge spent"};
  c.reached = false;
  c.steps = 11;
  c.epochs = 1.0 / 3;
  c.seconds = 0.1 + 0.2;
  c.gradient_equivalents = 12;
  c.final = {{"loss", std::exp(1.0)}, {"test.accuracy", std::nan("")}};
  c.trajectory = {{3, 0.25, 0.5, 2, {{"loss", std::exp(2.0)}}}};
  auto back = contestant_from_json(to_json(c));
  EXPECT_EQ(to_json(back), to_json(c));
  EXPECT_EQ(back.seconds, c.seconds);
  EXPECT_EQ(back.options, c.options);
  EXPECT_EQ(back.final["loss"], c.final["loss"]);
  EXPECT_TRUE(std::isnan(back.final["test.accuracy"]));
  EXPECT_EQ(back.reached, false);
  EXPECT_EQ(back.trajectory[0].values, c.trajectory[0].values);
  EXPECT_EQ(back.trajectory[0].seconds, 0.5);
  message_of([] { contestant_from_json("{\"method\": 3}"); });
  message_of([] { contestant_from_json("{"); });
  std::string line = to_json(c), steps = "\"steps\":11";
  line.replace(line.find(steps), steps.size(), "\"steps\":1e30");  // no whole number
  EXPECT_THAT(message_of([&] { contestant_from_json(line); }), HasSubstr("no contestant"));
}

}  // namespace
}  // namespace osculant
