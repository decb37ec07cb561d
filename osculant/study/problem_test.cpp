#include "osculant/study/problem.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include "osculant/base/error.h"

namespace osculant {
namespace {

using ::testing::HasSubstr;

RunConfig parity_config() {
  RunConfig config;
  config.read_text(
      "[model]\nkind = \"mlp\"\nwidths = [3, 4, 1]\nactivation = \"tanh\"\n[data]\nkind = \"parity\"\ninputs "
      "= 3\n"
      "[loss]\nkind = \"mse\"\n[metrics]\nnames = [\"squared_error\"]\n[run]\ndtype = \"float64\"\n",
      "run.toml");
  return config;
}

std::string refusal(RunConfig config) {
  try {
    load_problem(config);
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(Problem, WritesTheDefaultsItChoseBack) {
  RunConfig config = parity_config();
  Problem problem = load_problem(config);
  EXPECT_EQ(problem.train.size(), 8);
  EXPECT_EQ(problem.model.parameters(), 3 * 4 + 4 + 4 + 1);
  EXPECT_EQ(problem.model.dtype(), at::kDouble);
  EXPECT_EQ(config.run.seed, 0);
  EXPECT_EQ(config.run.device, "cpu");
  EXPECT_EQ(config.run.memory_budget, std::to_string(problem.memory_budget));
}

TEST(Problem, EvaluationOverRaggedBatchesIsTheObjective) {
  RunConfig config = parity_config();
  Problem problem = load_problem(config);
  auto values = evaluate(problem, problem.train, 3);
  EXPECT_NEAR(values.at("loss"), problem.objective(8).value(), 1e-14);
  EXPECT_NEAR(values.at("squared_error"), values.at("loss"), 1e-14);  // one output: the same number
}

TEST(Problem, GradientNormsOfLayersMakeUpTheWhole) {
  RunConfig config = parity_config();
  auto record = measure_objective(load_problem(config).objective(8));
  ASSERT_EQ(record.gradient_norms.size(), 2u);
  double sum = 0;
  for (const auto& [name, norm] : record.gradient_norms) sum += norm * norm;
  EXPECT_NEAR(std::sqrt(sum), record.gradient_norm, 1e-14);
}

TEST(Problem, FreezingTakesParametersOutOfTheta) {
  RunConfig config = parity_config();
  config.set_assignment("model.freeze=0.*");
  Problem problem = load_problem(config);
  EXPECT_EQ(problem.model.parameters(), 5);
  EXPECT_EQ(describe(problem.model).frozen, 16);
}

TEST(Problem, WhatDoesNotBelongTogetherIsRefused) {
  RunConfig config = parity_config();
  config.set_assignment("loss.delta=2");
  EXPECT_THAT(refusal(config), HasSubstr("belongs to the loss huber"));
  config = parity_config();
  config.set_assignment("model.filters=3");
  EXPECT_THAT(refusal(config), HasSubstr("means nothing for model.kind = \"mlp\""));
  config = parity_config();
  config.set_assignment("model.widths=4,1");
  EXPECT_THAT(refusal(config), HasSubstr("3"));
  config = parity_config();
  config.set_assignment("metrics.names=accuracy");
  EXPECT_THAT(refusal(config), HasSubstr("accuracy"));
}

TEST(Problem, BatchSizesResolve) {
  EXPECT_EQ(resolve_batch_size("full", 100), 100);
  EXPECT_EQ(resolve_batch_size("32", 100), 32);
  EXPECT_EQ(resolve_batch_size("256", 100), 100);
}

}  // namespace
}  // namespace osculant
