#include "osculant/study/result.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

namespace osculant {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

SpectrumRecord spectrum_with(double bottom, double residual) {
  SpectrumRecord spectrum;
  spectrum.largest = {{18, 0.01, 0.005}};
  spectrum.smallest = {{bottom, residual, residual}};
  spectrum.converged = true;
  return spectrum;
}

Result analysis_with(const SpectrumRecord& spectrum) {
  Result result;
  result.command = "analyze";
  result.model = {"mlp", 3, 0, {{"0", {1, 2}, 3}}};
  result.data = {8, 0};
  result.objective = ObjectiveRecord{13.25, 2, {{"0", 2}}};
  result.spectrum = {{"hessian", spectrum}};
  return result;
}

TEST(Result, JsonHasTheDocumentedFieldsAndNullForWhatIsNotKnown) {
  Result result = analysis_with(spectrum_with(-1, 0.1));
  result.spectrum[0].second.miss_probability = std::numeric_limits<double>::quiet_NaN();
  auto record = nlohmann::json::parse(to_json(result));
  EXPECT_EQ(record["schema"], 1);
  EXPECT_EQ(record["status"], "done");
  EXPECT_EQ(record["model"]["layers"][0]["shape"], nlohmann::json({1, 2}));
  EXPECT_EQ(record["objective"]["value"], 13.25);
  EXPECT_EQ(record["spectrum"]["hessian"]["largest"][0]["residual"], 0.01);
  EXPECT_TRUE(record["spectrum"]["hessian"]["miss_probability"].is_null());
  EXPECT_FALSE(record.contains("training"));
}

TEST(Result, NamesThatAreNoUtf8AreStillWritten) {
  Result result = analysis_with(spectrum_with(0, 1));
  result.model.layers[0].name = "\xff\xfe";
  EXPECT_TRUE(nlohmann::json::parse(to_json(result))["model"]["layers"][0]["name"].is_string());
}

TEST(Result, WordsAboutTheLossFollowIt) {
  Result result;
  result.command = "train";
  TrainingRecord& training = result.training.emplace();
  training.method = "sgd";
  training.steps = 1;
  training.epochs = 1;
  auto words = [&](double before, double after) {
    training.initial_loss = before;
    training.loss = after;
    return to_text(result);
  };
  EXPECT_THAT(words(2, 1), HasSubstr("The loss fell from 2 to 1."));
  EXPECT_THAT(words(1, 2), HasSubstr("The loss rose from 1 to 2."));
  EXPECT_THAT(words(2, 2), HasSubstr("The loss stayed at 2."));
  EXPECT_THAT(words(2, std::numeric_limits<double>::quiet_NaN()), HasSubstr("went from 2 to unknown."));
  EXPECT_THAT(words(2, 1), HasSubstr("sgd: 1 step, 1 epoch;"));
}

TEST(Result, GradientsAreJudgedByAThresholdThatIsSaid) {
  Result result = analysis_with(spectrum_with(2, 0.1));
  auto words = [&](double norm) {
    result.objective->gradient_norms = {{"0", 1}, {"2", norm}};
    return to_text(result);
  };
  EXPECT_THAT(words(76.11), HasSubstr("a factor of 76.11 between 2 and 0: no more than 100"));
  EXPECT_THAT(words(200), HasSubstr("unevenly scaled, beyond 100"));
  EXPECT_THAT(words(2e4), HasSubstr("beyond 10,000 gradients vanish"));
}

TEST(Result, NoLineSaysWhyNothingConvergedWhereNothingWasTried) {
  SpectrumRecord spectrum;
  EXPECT_THAT(to_text(analysis_with(spectrum)), Not(HasSubstr("Not converged")));
  spectrum.stop = "100 products";
  EXPECT_THAT(to_text(analysis_with(spectrum)), HasSubstr("Not converged: 100 products"));
}

TEST(Result, AnEntryKnownExactlyIsBetweenNothing) {
  SparsityRecord sparsity{};
  sparsity.scale = sparsity.largest_high = 1.266;
  EXPECT_THAT(to_text(sparsity), HasSubstr("The largest entry is the scale."));
  sparsity.largest_high = 1.5;
  EXPECT_THAT(to_text(sparsity), HasSubstr("The largest entry is between the scale and 1.5."));
}

TEST(Result, WordsAboutCurvatureFollowTheBounds) {
  EXPECT_THAT(to_text(analysis_with(spectrum_with(-1, 0.1))), HasSubstr("negative curvature is certain"));
  EXPECT_THAT(to_text(analysis_with(spectrum_with(-1, 2))), HasSubstr("cannot be told from zero"));
  EXPECT_THAT(to_text(analysis_with(spectrum_with(2, 0.1))), HasSubstr("condition number of 8.567 to 9.479"));
}

TEST(Result, WhatIsNotKnownIsCalledUnknown) {
  Result result = analysis_with(spectrum_with(2, 0.1));
  EXPECT_THAT(to_text(result), HasSubstr("trace: unknown"));
  result.spectrum[0].second.trace = TraceRecord{22, 20, 24, 30, false};
  EXPECT_THAT(to_text(result), HasSubstr("95 % interval 20 to 24"));
}

TEST(Result, RankAndDensityHaveTheDocumentedFieldsAndWords) {
  SpectrumRecord spectrum = spectrum_with(2, 0.1);
  spectrum.rank = RankRecord{.numerical = {{7.2, 5, 9}, 1e-5},
                             .stable = {1.2, 1.1, 1.3},
                             .effective = {2, 2, 2},
                             .participation = {3, 2, 4},
                             .dominance = {0.8, 0.7, 0.9},
                             .upper_bound = 12,
                             .rank_one = "no",
                             .how = "3 probes"};
  spectrum.frobenius = {4, 3, 5};
  auto& density = spectrum.density.emplace();
  density.width = 0.5;
  density.grid = {0, 1, 2};
  density.cumulative = density.cumulative_low = density.cumulative_high = {0, 0.5, 1};
  auto record = nlohmann::json::parse(to_json(analysis_with(spectrum)))["spectrum"]["hessian"];
  EXPECT_EQ(record["rank"]["numerical"]["low"], 5);
  EXPECT_EQ(record["rank"]["numerical"]["threshold"], 1e-5);
  EXPECT_EQ(record["rank"]["upper_bound"], 12);
  EXPECT_EQ(record["rank"]["rank_one"], "no");
  EXPECT_EQ(record["frobenius"]["high"], 5);
  EXPECT_EQ(record["density"]["grid"], nlohmann::json({0, 1, 2}));
  std::string text = to_text(analysis_with(spectrum));
  EXPECT_THAT(text,
              HasSubstr("rank: 5 to 9 eigenvalues beyond 1e-05 of the largest in magnitude, at most 12"));
  EXPECT_THAT(text, HasSubstr("stable rank 1.2 (1.1 to 1.3), effective rank 2, participation"));
  EXPECT_THAT(
      text, HasSubstr("not of rank one: its largest eigenvalue's share of norm_F^2 in percent is 80 (70 to"));
  EXPECT_THAT(text, HasSubstr("half of the eigenvalues in 1 (0 to 1) to 2 (1 to 2)"));
  density.cumulative_low = {0, 0.1, 0.9};
  density.cumulative_high = {0.3, 0.6, 1};
  EXPECT_THAT(
      to_text(analysis_with(spectrum)),
      HasSubstr("half of the eigenvalues in 1 (0 to 2) to 2 (1 to 2), 90 % in 1 (0 to 1) to 2 (1 to 2);"));
  spectrum.rank->upper_bound.reset();
  spectrum.rank->stable.value = std::numeric_limits<double>::quiet_NaN();
  record = nlohmann::json::parse(to_json(analysis_with(spectrum)))["spectrum"]["hessian"]["rank"];
  EXPECT_TRUE(record["upper_bound"].is_null());
  EXPECT_THAT(to_text(analysis_with(spectrum)), HasSubstr("stable rank unknown"));
}

TEST(Result, UnfinishedResultsSaySo) {
  Result result = analysis_with(spectrum_with(2, 0.1));
  EXPECT_THAT(to_text(result), Not(HasSubstr("not complete")));
  result.status = "interrupted";
  EXPECT_THAT(to_text(result), HasSubstr("not complete: interrupted"));
}

}  // namespace
}  // namespace osculant
