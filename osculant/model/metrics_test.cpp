#include "osculant/model/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "osculant/base/error.h"

namespace osculant {
namespace {

double value_of(const OutputMetric& metric,
                const std::vector<std::pair<OutputMetric::Outputs, Batch>>& batches) {
  double numerator = 0, denominator = 0;
  for (const auto& [outputs, batch] : batches) {
    auto [n, d] = metric.parts(outputs, batch);
    EXPECT_EQ(n.scalar_type(), at::kDouble);
    numerator += n.item<double>();
    denominator += d.item<double>();
  }
  return metric.finish(numerator / denominator);
}

Batch targets(Tensor y, Tensor weights = {}) {
  return {{}, {{"", std::move(y)}}, std::move(weights)};
}

TEST(Metrics, AccuracyOverRaggedBatchesIsTheShareOfAllExamples) {
  Tensor z = torch::tensor({{2.0, 1.0, 0.0}, {0.0, 1.0, 2.0}, {0.0, 3.0, 1.0}});
  Tensor y = torch::tensor({0, 2, 2}, at::kLong);
  OutputMetric metric = find_metric("accuracy", "cross_entropy");
  EXPECT_TRUE(metric.higher_is_better);
  EXPECT_DOUBLE_EQ(value_of(metric, {{{z.slice(0, 0, 2)}, targets(y.slice(0, 0, 2))},
                                     {{z.slice(0, 2, 3)}, targets(y.slice(0, 2, 3))}}),
                   2.0 / 3.0);
  Tensor probabilities = torch::tensor({{0.9, 0.1, 0.0}, {0.5, 0.3, 0.2}, {0.0, 1.0, 0.0}});
  EXPECT_DOUBLE_EQ(value_of(metric, {{{z}, targets(probabilities)}}), 2.0 / 3.0);
  EXPECT_DOUBLE_EQ(value_of(metric, {{{z}, targets(y, torch::tensor({1.0, 1.0, 2.0}))}}), 0.5);
}

TEST(Metrics, BinaryAccuracyComparesSigns) {
  Tensor z = torch::tensor({{1.0, -1.0}, {2.0, 3.0}});
  Tensor y = torch::tensor({{1.0, 0.0}, {0.0, 1.0}});
  EXPECT_DOUBLE_EQ(value_of(find_metric("accuracy", "binary_cross_entropy"), {{{z}, targets(y)}}), 0.75);
}

TEST(Metrics, SquaredErrorSumsOverOutputsAndTurnsLogitsIntoProbabilities) {
  Tensor z = torch::tensor({{0.0, 0.0}, {0.0, 0.0}});
  Tensor y = torch::tensor({{1.0, 0.0}, {0.5, 0.5}});
  EXPECT_DOUBLE_EQ(value_of(find_metric("squared_error", "mse"), {{{z}, targets(y)}}), (1.0 + 0.5) / 2);
  EXPECT_DOUBLE_EQ(value_of(find_metric("squared_error", "binary_cross_entropy"), {{{z}, targets(y)}}), 0.25);
  EXPECT_DOUBLE_EQ(value_of(find_metric("squared_error", "poisson"), {{{z}, targets(y)}}), (1.0 + 0.5) / 2);
}

TEST(Metrics, RelativeErrorIsOfTheWholeSet) {
  Tensor z = torch::tensor({{3.0}, {0.0}});
  Tensor y = torch::tensor({{0.0}, {4.0}});
  EXPECT_DOUBLE_EQ(
      value_of(find_metric("relative_l2", "mse"), {{{z.slice(0, 0, 1)}, targets(y.slice(0, 0, 1))},
                                                   {{z.slice(0, 1, 2)}, targets(y.slice(0, 1, 2))}}),
      std::sqrt((9.0 + 16.0) / 16.0));
}

TEST(Metrics, WhatHasNoMeaningIsRefused) {
  EXPECT_THROW(find_metric("accuracy", "mse"), Error);
  EXPECT_THROW(find_metric("squared_error", "cross_entropy"), Error);
  EXPECT_THROW(find_metric("auc", "cross_entropy"), Error);
}

}  // namespace
}  // namespace osculant
