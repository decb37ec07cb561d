#include "osculant/diagnose/loss_slice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "osculant/base/random.h"
#include "osculant/base/testing.h"
#include "osculant/curvature/curvature.h"
#include "osculant/model/zoo.h"

namespace osculant {
namespace {

using ::testing::HasSubstr;

Objective small_objective() {
  Model net = mlp({.widths = {3, 5, 2}, .activation = Activation::tanh, .dtype = at::kDouble});
  RandomStream random(4, "data");
  Tensor x = random.normal({20, 3}, at::kDouble), y = random.normal({20, 2}, at::kDouble);
  return {net, MeanSquaredError(), Dataset(x, y).batches(8)};
}

Tensor unit(int64_t n, uint64_t seed) {
  Tensor d = RandomStream(seed, "d").normal({n}, at::kDouble);
  return d / d.norm();
}

TEST(LossSlices, AreTheObjectiveAndItsQuadraticModel) {
  auto objective = small_objective();
  auto& layout = objective.layout();
  Tensor home = layout.theta().clone(), d = unit(layout.size(), 1);
  Hessian H(objective);
  double f = objective.value();
  Tensor g = objective.value_and_gradient().second, Hd = H.apply(d);
  LossLine line = LossSlices(objective, H).line(d, {.points = 5, .radius = 0.8});
  ASSERT_EQ(line.steps, (std::vector<double>{-0.8, -0.4, 0, 0.4, 0.8}));
  for (size_t i = 0; i < 5; ++i) {
    double t = line.steps[i];
    EXPECT_NEAR(line.model[i], f + t * g.dot(d).item<double>() + t * t / 2 * d.dot(Hd).item<double>(), 1e-13);
    layout.assign(home + t * d);
    EXPECT_EQ(line.values[i], objective.value());
    layout.assign(home);
  }
  EXPECT_EQ(line.values[2], f);
}

TEST(LossSlices, LeaveThetaAndKeptGraphsAsTheyWere) {
  auto objective = small_objective();
  Tensor home = objective.layout().theta().clone(), d = unit(objective.parameters(), 1);
  Hessian H(objective);
  Tensor Hd = H.apply(d);
  LossSlices slices(objective, H);
  slices.plane(random_plane(objective.layout(), SliceNormalization::none, 1), {.points = 3});
  EXPECT_TRUE(objective.layout().theta().equal(home));
  EXPECT_TRUE(H.apply(d).equal(Hd));  // and not refused for a theta that has moved
}

// On a quadratic the model is the objective, and at the default radius it has changed by the objective's
// value.
TEST(LossSlices, OfAQuadraticAreTheModel) {
  Tensor x = at::tensor({1., -2., 0.5}, at::kDouble).requires_grad_();
  Tensor l = at::tensor({4., 1., -1.}, at::kDouble), b = at::tensor({0.3, 0.1, -0.2}, at::kDouble);
  auto objective = Objective::function({{"x", x}}, [=] { return (l * x * x).sum() / 2 + (b * x).sum(); });
  Hessian H(objective);
  LossSlices slices(objective, H);
  LossLine line = slices.line(unit(3, 2));
  EXPECT_EQ(line.steps.size(), 21u);
  for (size_t i = 0; i < line.steps.size(); ++i) EXPECT_NEAR(line.values[i], line.model[i], 1e-12);
  EXPECT_EQ(line.reach(), line.radius);
  EXPECT_NEAR(std::abs(line.slope) * line.radius + std::abs(line.curvature) * line.radius * line.radius / 2,
              std::abs(slices.value()), 1e-12);
  Tensor D = random_plane(objective.layout(), SliceNormalization::none, 3);
  LossPlane plane = slices.plane(D, {.points = 7});
  for (size_t i = 0; i < 7; ++i)
    for (size_t j = 0; j < 7; ++j) EXPECT_NEAR(plane.values[i][j], plane.model[i][j], 1e-12);
}

TEST(LossSlices, ReachEndsWhereTheModelDoes) {
  LossLine line;
  line.steps = {-2, -1, 0, 1, 2};
  line.values = {5, 1.5, 1, 1.5, 3};
  line.model = {3, 1.5, 1, 1.52, 3};
  EXPECT_EQ(line.reach(), 1);
  EXPECT_EQ(line.reach(0.01), 0);
}

TEST(LossSlices, CostAnEvaluationAPointAndAProduct) {
  auto objective = small_objective();
  Hessian H(objective);
  Tensor d = unit(objective.parameters(), 1);
  H.apply(d);
  LossSlices slices(objective, H);
  double before = objective.ledger().gradient_equivalents();
  slices.line(d, {.points = 9});
  EXPECT_NEAR(objective.ledger().gradient_equivalents() - before, Price::hessian_product + 9 * Price::forward,
              1e-12);
  before = objective.ledger().gradient_equivalents();
  slices.plane(random_plane(objective.layout(), SliceNormalization::none, 1), {.points = 5});
  EXPECT_NEAR(objective.ledger().gradient_equivalents() - before,
              2 * Price::hessian_product + 25 * Price::forward, 1e-12);
}

TEST(LossSlices, StopWhenAskedTo) {
  auto objective = small_objective();
  Tensor home = objective.layout().theta().clone();
  Hessian H(objective);
  int asked = 0;
  LossLine line = LossSlices(objective, H).line(unit(objective.parameters(), 1), {.points = 5, .go_on = [&] {
                                                                                    return ++asked < 3;
                                                                                  }});
  EXPECT_FALSE(std::isnan(line.values[1]));
  EXPECT_TRUE(std::isnan(line.values[2]));
  EXPECT_TRUE(objective.layout().theta().equal(home));
}

TEST(LossSlices, RefuseGridsWithoutTheta) {
  EXPECT_THAT(message_of([] { SliceOptions{.points = 4}.check(); }, ErrorKind::usage), HasSubstr("odd"));
  EXPECT_THAT(message_of([] { SliceOptions{.points = 1}.check(); }, ErrorKind::usage), HasSubstr(">= 3"));
}

TEST(SliceRadius, IsWhereTheModelHasChangedByTheValue) {
  EXPECT_DOUBLE_EQ(slice_radius(2, 0, 4), 1);
  EXPECT_DOUBLE_EQ(slice_radius(2, -0.5, 0), 4);
  EXPECT_DOUBLE_EQ(slice_radius(-3, 1, -4), 1);
  EXPECT_NEAR(slice_radius(1, 1e9, 1e-9), 1e-9, 1e-20);
  EXPECT_EQ(slice_radius(5, 0, 0), 1);
}

TEST(RandomPlane, IsOrthonormalOrOfTheNetworksOwnScales) {
  auto objective = small_objective();
  const auto& layout = objective.layout();
  Tensor D = random_plane(layout, SliceNormalization::none, 5);
  EXPECT_LT((D.t().mm(D) - at::eye(2, at::kDouble)).norm().item<double>(), 1e-13);
  EXPECT_FALSE(D.equal(random_plane(layout, SliceNormalization::none, 6)));

  auto theta = layout.unflatten(layout.theta());
  Tensor by_layer = random_plane(layout, SliceNormalization::layer, 5);
  Tensor by_filter = random_plane(layout, SliceNormalization::filter, 5);
  for (int64_t j = 0; j < 2; ++j) {
    auto whole = layout.unflatten(by_layer.select(1, j)), rows = layout.unflatten(by_filter.select(1, j));
    for (size_t p = 0; p < theta.size(); ++p) {
      if (theta[p].dim() < 2) {
        EXPECT_EQ(rows[p].norm().item<double>() + whole[p].norm().item<double>(), 0);
        continue;
      }
      EXPECT_NEAR(whole[p].norm().item<double>(), theta[p].norm().item<double>(), 1e-12);
      EXPECT_LT((rows[p].norm(2, {1}) - theta[p].norm(2, {1})).abs().max().item<double>(), 1e-12);
    }
  }
}

}  // namespace
}  // namespace osculant
