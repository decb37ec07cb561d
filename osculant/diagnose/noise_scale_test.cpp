#include "osculant/diagnose/noise_scale.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn.h>

#include <cmath>

#include "osculant/base/random.h"
#include "osculant/base/testing.h"

namespace osculant {
namespace {

// Mean of |theta x - y|^2 / 2-like: z = theta, one parameter a coordinate; g_i = 2 (theta - y_i).
Objective location(int64_t examples, int64_t dimension, double offset, uint64_t seed) {
  Tensor y = RandomStream(seed, "data").normal({examples, dimension}, at::kDouble) + offset;
  Tensor theta = at::zeros({dimension}, at::kDouble).requires_grad_();
  Model model({{"theta", theta}}, [theta](const Model::Inputs& x) { return Model::Outputs{x[0] + theta}; });
  return {model, MeanSquaredError({.outputs = OutputReduction::sum}),
          Dataset(at::zeros({examples, dimension}, at::kDouble), y).full()};
}

// Every example left out once, by the definition.
TEST(NoiseScale, IsTheDefinitionAndItsJackknife) {
  Objective objective = location(12, 3, 1.0, 1);
  NoiseScale found = noise_scale(objective);
  Tensor g = -2 * objective.batch(0, 0).targets[0].tensor;
  auto of = [](const Tensor& rows) {
    auto N = static_cast<double>(rows.size(0));
    double trace = rows.var(0).sum().item<double>();
    double signal = rows.mean(0).square().sum().item<double>() - trace / N;
    return std::array<double, 3>{trace, signal, signal / trace};
  };
  auto all = of(g);
  std::array<double, 3> mean{}, squares{};
  for (int64_t i = 0; i < 12; ++i) {
    auto left = of(at::cat({g.narrow(0, 0, i), g.narrow(0, i + 1, 11 - i)}));
    for (size_t k = 0; k < 3; ++k) mean[k] += left[k] / 12, squares[k] += left[k] * left[k];
  }
  auto half = [&](size_t k) {
    return 2.2009851600916 * std::sqrt(11.0 / 12 * (squares[k] - 12 * mean[k] * mean[k]));  // t, 11 degrees
  };
  EXPECT_NEAR(found.trace.value, all[0], 1e-11);
  EXPECT_NEAR(found.trace.high - found.trace.value, half(0), 1e-6);
  EXPECT_NEAR(found.squared_gradient.value, all[1], 1e-11);
  EXPECT_NEAR(found.squared_gradient.value - found.squared_gradient.low, half(1), 1e-6);
  EXPECT_NEAR(found.scale.value, 1 / all[2], 1e-11);
  EXPECT_NEAR(found.scale.low, 1 / (all[2] + half(2)), 1e-6);
}

// tr C = 4 d, |G|^2 = 4 d offset^2, so B = 1 / offset^2, known exactly.
TEST(NoiseScale, IntervalsHoldTheTruthAsOftenAsTheySay) {
  int covered = 0;
  constexpr int runs = 200;
  for (uint64_t seed = 0; seed < runs; ++seed) {
    NoiseScale found = noise_scale(location(100, 5, 0.5, seed));
    covered += found.scale.low <= 4 && 4 <= found.scale.high;
  }
  EXPECT_GE(covered, 180);
  EXPECT_LE(covered, 199);
}

TEST(NoiseScale, SaysWhereThereIsNoSignal) {
  NoiseScale found = noise_scale(location(50, 5, 0.0, 3));
  EXPECT_EQ(found.scale.high, INFINITY);
  EXPECT_GT(found.scale.low, 10);
  EXPECT_THAT(found.words, testing::HasSubstr("not told from noise"));
}

TEST(NoiseScale, RefusesFewAndWeightedExamples) {
  EXPECT_THAT(message_of([] { noise_scale(location(2, 3, 1, 1)); }, ErrorKind::usage),
              testing::HasSubstr("at least 3"));
  Objective objective = location(4, 3, 1, 1);
  Batch batch = objective.batch(0, 0);
  batch.weights = at::ones({4}, at::kDouble);
  EXPECT_THAT(message_of([&] { noise_scale(objective.on(batch)); }, ErrorKind::usage),
              testing::HasSubstr("weights"));
}

}  // namespace
}  // namespace osculant
