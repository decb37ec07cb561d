#include "osculant/diagnose/curvature_probe.h"

#include <gtest/gtest.h>
#include <torch/nn.h>

#include "osculant/base/testing.h"
#include "osculant/curvature/curvature.h"

namespace osculant {
namespace {

// mean (x'w - y)^2 with x ~ N(0, diag(scales^2)): H = 2 X'X / N, of the population 2 diag(scales^2).
Objective regression(int64_t examples, const Tensor& scales, uint64_t seed = 1) {
  RandomStream random(seed, "data");
  Tensor x = random.normal({examples, scales.numel()}, at::kDouble) * scales;
  Tensor w = at::zeros({scales.numel(), 1}, at::kDouble).requires_grad_();
  Model model({{"w", w}}, [w](const Model::Inputs& x) { return Model::Outputs{x[0].mm(w)}; });
  return {model, MeanSquaredError(), Dataset(x, random.normal({examples, 1}, at::kDouble)).full()};
}

Tensor scales() {
  return at::linspace(1, 4, 6, at::kDouble);
}

TEST(CurvatureProbe, PartsShareNoExample) {
  Objective objective = regression(400, scales());
  RandomStream random(2, "parts");
  ExampleParts parts = example_parts(objective, 64, 32, random);
  ASSERT_EQ(parts.checks.size(), 8U);
  EXPECT_EQ(parts.fit_examples(), 64);
  EXPECT_EQ(parts.check_examples(), 64);
  std::vector<Tensor> rows;
  for (const auto& part : parts.checks) rows.push_back(part.batch(0, 0).inputs[0].tensor);
  rows.push_back(parts.fit[0].batch(0, 0).inputs[0].tensor);
  Tensor all = at::cat(rows);
  EXPECT_EQ(std::get<0>(at::unique_dim(all, 0)).size(0), 128);
}

TEST(CurvatureProbe, OnAllTheDataItIsTheDenseHessian) {
  Objective objective = regression(50, scales());
  RandomStream random(2, "parts");
  ExampleParts parts = example_parts(objective, 32, 50, random);
  EXPECT_TRUE(parts.whole);
  Tensor H = dense(Hessian(objective)).matrix;
  auto ends = extreme_directions(parts.fit[0], {}, 6, random);
  Tensor values = at::linalg_eigvalsh(H);
  EXPECT_NEAR(ends.largest_value, values[-1].item<double>(), 1e-10);
  EXPECT_NEAR(ends.smallest_value, values[0].item<double>(), 1e-10);
  auto along = measure_along(parts, ends.largest);
  EXPECT_TRUE(along.curvature.exact());
  EXPECT_NEAR(along.curvature.value, values[-1].item<double>(), 1e-10);
  EXPECT_NEAR(along.slope.value, objective.value_and_gradient().second.dot(ends.largest).item<double>(),
              1e-10);
}

// The largest eigenvalue of 48 examples exceeds the curvature of all the data along its direction; the
// measurement on others does not.
TEST(CurvatureProbe, IntervalsHoldTheCurvatureOfAllTheData) {
  int covered = 0, exceeded = 0;
  constexpr int runs = 100;
  for (uint64_t seed = 0; seed < runs; ++seed) {
    Objective objective = regression(2000, at::ones({20}, at::kDouble), seed);
    Tensor H = dense(Hessian(objective)).matrix;
    RandomStream random(seed, "parts");
    ExampleParts parts = example_parts(objective, 48, 32, random);
    auto ends = extreme_directions(parts.fit[0], {}, 15, random);
    double truth = ends.largest.dot(H.mv(ends.largest)).item<double>();
    Measured found = measure_along(parts, ends.largest).curvature;
    covered += found.low <= truth && truth <= found.high;
    exceeded += ends.largest_value > 1.3 * truth;
  }
  EXPECT_GE(covered, 90);
  EXPECT_GE(exceeded, 90);
}

TEST(CurvatureProbe, ChargesWhatItSays) {
  Objective objective = regression(400, scales());
  RandomStream random(2, "parts");
  ExampleParts parts = example_parts(objective, 40, 32, random);
  double before = objective.ledger().gradient_equivalents();
  auto ends = extreme_directions(parts.fit[0], {}, 4, random);
  EXPECT_NEAR(objective.ledger().gradient_equivalents() - before,
              0.1 * (Price::gradient_graph + 4 * Price::hessian_product), 1e-12);
  before = objective.ledger().gradient_equivalents();
  measure_along(parts, ends.largest);
  EXPECT_NEAR(objective.ledger().gradient_equivalents() - before,
              0.1 * (Price::gradient_graph + Price::hessian_product), 1e-12);
}

}  // namespace
}  // namespace osculant
