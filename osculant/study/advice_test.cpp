#include "osculant/study/advice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "osculant/curvature/curvature.h"
#include "osculant/diagnose/noise_scale.h"
#include "osculant/study/advice_facts.h"
#include "osculant/study/training.h"

namespace osculant {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

RunConfig curve_fit() {
  RunConfig config;
  config.read_text(
      "[model]\nkind = \"mlp\"\nwidths = [1, 6, 1]\nactivation = \"tanh\"\n"
      "[data]\nkind = \"sinc\"\nexamples = 100\n[loss]\nkind = \"mse\"\n"
      "[run]\ndtype = \"float64\"\nthreads = 1\n",
      "run.toml");
  return config;
}

const AdviceRecord::Fact* find(const std::vector<AdviceRecord::Fact>& facts, const std::string& name) {
  for (const auto& fact : facts)
    if (fact.name == name) return &fact;
  return nullptr;
}

class Advice : public ::testing::Test {
 protected:
  Advice() : folder_(::testing::TempDir() + "advice" + std::to_string(::getpid())) {
    std::filesystem::remove_all(folder_);
  }
  ~Advice() override { std::filesystem::remove_all(folder_); }

  Result advise_on(RunConfig config) {
    Problem problem = load_problem(config);
    plan_advice(problem, config);
    ResultDirectory folder(folder_, Existing::refuse);
    return advise(problem, config, folder, [](const std::string&) {});
  }

  std::string folder_;
};

TEST_F(Advice, RestsOnNumbersThatHold) {
  RunConfig config = curve_fit();
  Problem problem = load_problem(config);
  auto facts = measure_facts(problem, config);
  Tensor l = at::linalg_eigvalsh(dense(Hessian(problem.objective(100))).matrix);
  for (auto [name, truth] : {std::pair{"curvature.largest", l.max().item<double>()},
                             {"curvature.smallest", l.min().item<double>()}}) {
    const auto* fact = find(facts.told, name);
    ASSERT_NE(fact, nullptr) << name;
    EXPECT_LE(fact->number.low, truth) << name;
    EXPECT_GE(fact->number.high, truth) << name;
  }
  const auto* rank = find(facts.told, "curvature.stable_rank");
  double stable = (l.square().sum() / l.square().max()).item<double>();
  EXPECT_LE(rank->number.low, stable * (1 + 1e-12));
  EXPECT_GE(rank->number.high, stable * (1 - 1e-12));
  const auto* noise = find(facts.told, "noise_scale");
  NoiseScale scale = noise_scale(problem.objective(100));
  EXPECT_EQ(noise->number.value, scale.scale.value);
  EXPECT_EQ(find(facts.told, "parameters")->number.value, 19);
  EXPECT_TRUE(facts.training.least_squares);
}

TEST_F(Advice, LeavesARunFileThatTrains) {
  Result result = advise_on(curve_fit());
  const AdviceRecord& advice = *result.advice;
  EXPECT_EQ(advice.ranking.front().method, "levenberg_marquardt");
  EXPECT_TRUE(advice.rounds.empty());
  EXPECT_THAT(to_json(result),
              HasSubstr("\"ranking\": [\n      {\n        \"method\": \"levenberg_marquardt\""));
  RunConfig advised;
  advised.read_file(folder_ + "/" + advice.run_file);
  EXPECT_EQ(advised.train.method, "levenberg_marquardt");
  EXPECT_EQ(advised.train.budget, "60s");
  Problem problem = load_problem(advised);
  EXPECT_NO_THROW(plan_training(problem, advised));
}

TEST_F(Advice, IsSettledByARace) {
  RunConfig config = curve_fit();
  config.set("advise.race", "true", "--race");
  config.set("advise.candidates", "3", "--candidates");
  config.set("train.budget", "2000ge", "--budget");
  Result result = advise_on(config);
  const AdviceRecord& advice = *result.advice;
  ASSERT_GE(advice.rounds.size(), 2u);
  double spent = 0;
  for (const auto& round : advice.rounds)
    for (const auto& contender : round.contenders) spent += contender.gradient_equivalents;
  EXPECT_LT(spent, 2600) << "the budget is that of the whole race; a step may run over";
  EXPECT_EQ(advice.rounds[1].contenders.size(), (advice.rounds[0].contenders.size() + 1) / 2);
  const auto& last = advice.rounds.back().contenders;
  EXPECT_EQ(last.front().label, advice.winner);
  EXPECT_LE(last.front().value, last.back().value);
  EXPECT_EQ(advice.ranking.front().method, last.front().method);
  RunConfig advised;
  advised.read_file(folder_ + "/" + advice.run_file);
  EXPECT_EQ(advised.train.method, last.front().method);
}

TEST_F(Advice, SaysFirstThatADeadSignalIsToBeMended) {
  RunConfig config;
  config.read_text(
      "[model]\nkind = \"mlp\"\nwidths = [8, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, "
      "3]\n"
      "activation = \"sigmoid\"\n"
      "[data]\nkind = \"mixture\"\ninputs = 8\noutputs = 3\nexamples = 200\n[loss]\nkind = "
      "\"cross_entropy\"\n"
      "[run]\nthreads = 1\n",
      "run.toml");
  Result result = advise_on(config);
  EXPECT_THAT(result.advice->remedies, Contains(HasSubstr("No method trains this network from here")));
  EXPECT_THAT(result.advice->words, HasSubstr("to be mended"));
  EXPECT_THAT(
      result.advice->remedies,
      Contains(HasSubstr("critical initialisation of sigmoid layers, s_w^2 = 1.761 and s_b^2 = 0.05")));
  RunConfig advised;
  advised.read_file(folder_ + "/" + result.advice->run_file);
  EXPECT_THAT(advised.model.parameters, HasSubstr("critical.safetensors"));
  Problem problem = load_problem(advised);
  EXPECT_EQ(gradient_flow(problem.objective(200)).verdict, FlowVerdict::healthy);
}

}  // namespace
}  // namespace osculant
