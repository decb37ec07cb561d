#include "osculant/optim/directions/kfac.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "osculant/curvature/curvature.h"
#include "osculant/curvature/kfac.h"
#include "osculant/optim/methods.h"
#include "osculant/optim/minimizer.h"
#include "osculant/optim/testing.h"

namespace osculant {
namespace {

using testing::f64;
using testing::normal;
using testing::relative_difference;

// Deep and linear, 3-4-2: F with exact factors is G's block diagonal.
Objective deep_linear() {
  Tensor W = normal({4, 3}, 61).requires_grad_(), b = normal({4}, 62).requires_grad_(),
         V = normal({2, 4}, 63).requires_grad_();
  Model model({{"W", W}, {"b", b}, {"V", V}},
              [=](const Model::Inputs& x) { return Model::Outputs{at::linear(at::linear(x[0], W, b), V)}; });
  return Objective(model, MeanSquaredError(), Dataset(normal({30, 3}, 64), normal({30, 2}, 65)).full());
}

// The first step is a d, d = -(F + lambda I)^-1 g with damping as each method has it, a exact along d.
TEST(KfacMethod, stepsToTheLeastOfItsModel) {
  double lambda = 0.3;
  for (bool corrected : {false, true}) {
    auto objective = deep_linear();
    KfacMethodOptions options{.gradients = ScoreGradients::exact, .max_relative_step = 0};
    auto direction = corrected ? ekfac_direction(options, objective.examples())
                               : kfac_direction(options, objective.examples());
    Step step = testing::propose(*direction, objective, lambda);

    KfacOptions exact{.sample = {.gradients = ScoreGradients::exact}};
    OperatorPtr inverse;
    if (corrected)
      inverse = ekfac(objective, exact).matrix->inverse(lambda);
    else
      inverse = factored_inverse(*kfac(objective, exact).matrix, lambda);
    Tensor g = objective.value_and_gradient().second, d = -inverse->apply(g);
    Tensor G = to_dense(GaussNewton(objective));
    double curvature = d.dot(G.mv(d)).item<double>(), square = d.dot(d).item<double>();
    double a = -g.dot(d).item<double>() / (curvature + lambda * square);
    EXPECT_LT(relative_difference(step.displacement, a * d), 1e-10) << corrected;
    EXPECT_NEAR(step.predicted_change, a * g.dot(d).item<double>() + a * a * curvature / 2, 1e-12);
  }
}

// The second has the first beside it: the least over both.
TEST(KfacMethod, findsItsMomentum) {
  auto objective = deep_linear();
  Stepper stepper(objective,
                  methods::kfac({.damping = {.rule = DampingRule::fixed, .initial = 0.1},
                                 .gradients = ScoreGradients::exact,
                                 .factor_decay = 0,
                                 .inverse_interval = 10,
                                 .max_relative_step = 0}),
                  {});
  Tensor start = objective.layout().theta().clone();
  ASSERT_TRUE(stepper.step().accepted);
  Tensor s = objective.layout().theta() - start, here = objective.layout().theta().clone();
  KfacOptions exact{.sample = {.gradients = ScoreGradients::exact}};
  // The inverse of the first step is kept for ten.
  objective.layout().assign(start);
  auto inverse = factored_inverse(*kfac(objective, exact).matrix, 0.1);
  objective.layout().assign(here);
  Tensor g = objective.value_and_gradient().second, P = at::stack({-inverse->apply(g), s}, 1);
  Tensor G = to_dense(GaussNewton(objective)) + 0.1 * at::eye(objective.parameters(), f64());
  Tensor y = at::linalg_solve(P.t().mm(G).mm(P), -P.t().mv(g));
  ASSERT_TRUE(stepper.step().accepted);
  EXPECT_LT(relative_difference(objective.layout().theta() - here, P.mv(y)), 1e-9);
}

// On a mini-batch the step of the least along the same direction, cut, with what the model says of the cut
// one.
TEST(KfacMethod, keepsItsStepsShort) {
  auto objective = deep_linear();
  auto propose = [&](double max_relative_step, bool full_batch) {
    KfacMethodOptions options{.gradients = ScoreGradients::exact, .max_relative_step = max_relative_step};
    auto direction = kfac_direction(options, objective.examples());
    auto linearization = objective.linearize(direction->needs());
    RandomStream random(0, "test");
    Samples samples(objective, objective, random);
    StepContext context{*linearization, linearization->gradient(), samples, 1, random, full_batch};
    direction->prepare(context);
    return direction->propose(context, Damping({.initial = 0.3}));
  };
  Step whole = propose(0, false), cut = propose(1e-3, false);
  double length = 1e-3 * objective.layout().theta().norm().item<double>(),
         share = length / whole.displacement.norm().item<double>();
  EXPECT_NEAR(cut.displacement.norm().item<double>(), length, 1e-12);
  EXPECT_LT(relative_difference(cut.displacement, share * whole.displacement), 1e-12);
  Tensor g = objective.value_and_gradient().second, p = cut.displacement,
         Gp = GaussNewton(objective).apply(p);
  EXPECT_NEAR(cut.predicted_change, g.dot(p).item<double>() + p.dot(Gp).item<double>() / 2, 1e-12);
  EXPECT_NEAR(cut.slope, g.dot(p).item<double>(), 1e-12);
  EXPECT_TRUE(propose(1e-3, true).displacement.equal(whole.displacement));
}

// One linear layer, whose G is the same everywhere: from the second epoch on A is that of all examples,
// weighed by batches of different sizes.
TEST(KfacMethod, hasTheInputFactorOfAllDataAfterAnEpoch) {
  Tensor X = normal({20, 4}, 91), Y = normal({20, 3}, 92), W = normal({3, 4}, 93).requires_grad_();
  Model model({{"W", W}}, [W](const Model::Inputs& x) { return Model::Outputs{at::linear(x[0], W)}; });
  Dataset data(X, Y);
  Objective whole(model, MeanSquaredError(), data.full());
  Tensor g = whole.value_and_gradient().second;
  auto step_after = [&](double data_epochs, const std::vector<std::pair<int64_t, int64_t>>& batches) {
    KfacMethodOptions options{
        .gradients = ScoreGradients::exact, .data_epochs = data_epochs, .inverse_interval = 1};
    auto direction = kfac_direction(options, 20);
    RandomStream random(0, "test");
    Tensor step;
    for (auto [begin, end] : batches) {
      auto objective = whole.on(data.range(begin, end));
      auto linearization = objective.linearize(direction->needs());
      Samples samples(whole, objective, random);
      StepContext context{*linearization, linearization->gradient(), samples, 1, random, false};
      direction->prepare(context);
      step = direction->step_for(context, g, Damping({.initial = 0.1}));
    }
    return step;
  };
  Tensor of_all = step_after(0, {{0, 20}});
  EXPECT_LT(relative_difference(step_after(1, {{0, 8}, {8, 20}}), of_all), 1e-12);
  EXPECT_LT(relative_difference(step_after(1, {{0, 8}, {8, 20}, {0, 8}, {3, 9}}), of_all), 1e-12);
  EXPECT_GT(relative_difference(step_after(2, {{0, 8}, {8, 20}, {0, 8}, {3, 9}}), of_all), 1e-3);
  EXPECT_GT(relative_difference(step_after(0, {{0, 8}, {8, 20}, {0, 8}, {3, 9}}), of_all), 1e-3);
}

// With few examples an inverse is dear beside a step, with many it is cheap: as often as told by hand.
TEST(KfacMethod, refreshesInversesByTheirCost) {
  auto theta_after = [](int64_t examples, int64_t interval) {
    Tensor X = normal({examples, 6}, 71), W = normal({6, 6}, 72).requires_grad_();
    Model model({{"W", W}},
                [=](const Model::Inputs& x) { return Model::Outputs{at::linear(x[0], W).tanh()}; });
    Objective objective(model, MeanSquaredError(), Dataset(X, normal({examples, 6}, 73)).full());
    Stepper stepper(objective,
                    methods::kfac({.damping = {.rule = DampingRule::fixed, .initial = 0.1},
                                   .gradients = ScoreGradients::exact,
                                   .inverse_interval = interval}),
                    {});
    for (int i = 0; i < 9; ++i) stepper.step();
    return objective.layout().theta().clone();
  };
  // 2 * 6^3 / (36 b): 12 / b.
  EXPECT_TRUE(theta_after(12, 0).equal(theta_after(12, 1)));
  EXPECT_TRUE(theta_after(4, 0).equal(theta_after(4, 3)));
  EXPECT_FALSE(theta_after(4, 1).equal(theta_after(4, 3)));
}

TEST(KfacMethod, takesFewStepsWhereItsCurvatureIsExact) {
  for (const char* name : {"kfac", "ekfac"}) {
    auto summary = minimize(deep_linear(), make_method(name, {{"gradients", "exact"}}), {.steps = 60});
    auto newton = minimize(deep_linear(), methods::levenberg_marquardt(), {.steps = 60});
    EXPECT_LT(summary.final_loss, newton.final_loss + 1e-4 * summary.initial_loss) << name;
  }
}

// Means of factors: with decay 1/2 from the third update on (1 - 1/k before).
TEST(KfacMethod, goesOnWithoutFactorsThatAreNotFinite) {
  auto now = std::make_shared<double>(1);
  auto net = testing::small_net();
  Model model = net.with_forward([net, now](const Model::Inputs& x) {
    auto z = net.forward(Model::Inputs{x[0]});
    return Model::Outputs{z[0] * *now};
  });
  Objective objective(model, MeanSquaredError(), testing::small_data().full());
  auto direction = kfac_direction({}, objective.examples());
  RandomStream random(0, "test");
  Samples samples(objective, objective, random);
  auto prepare_and_propose = [&](double damping) {
    auto linearization = objective.linearize(direction->needs());
    StepContext context{*linearization, linearization->gradient(), samples, 1, random};
    direction->prepare(context);
    return direction->propose(context, Damping({.initial = damping}));
  };
  ASSERT_TRUE(prepare_and_propose(1).displacement.defined());
  auto linearization = objective.linearize(direction->needs());
  StepContext context{*linearization, linearization->gradient(), samples, 2, random};
  *now = std::nan("");
  direction->prepare(context);
  *now = 1;
  Step step = direction->propose(context, Damping({.initial = 1}));
  EXPECT_THAT(step.note, ::testing::HasSubstr("factors are not finite, the last are kept"));
  EXPECT_TRUE(step.displacement.isfinite().all().item<bool>());
}

// What no layer tells has a diagonal, and says so once.
TEST(KfacMethod, namesWhatNoLayerTells) {
  auto rosenbrock = testing::rosenbrock();
  Stepper stepper(rosenbrock, methods::kfac(), {});
  EXPECT_THAT(stepper.step().note, ::testing::HasSubstr("a diagonal for p, which no layer tells"));
  EXPECT_THAT(stepper.step().note, ::testing::Not(::testing::HasSubstr("no layer")));
}

TEST(KfacMethod, chargesWhatItDoes) {
  auto objective = testing::small_mlp();
  Stepper stepper(objective, methods::kfac(), {});
  // gradient 1, J's graph 0.7, a product of J 0.6, factors 2/3, a trial 1/3; verification of layers on 16 of
  // 48 examples in the first step, 1 for its forward pass and two back; then two products.
  double first = stepper.step().gradient_equivalents;
  EXPECT_NEAR(first, 1 + 0.7 + 0.6 + 2.0 / 3 + 1.0 / 3 + 16.0 / 48, 1e-12);
  EXPECT_NEAR(stepper.step().gradient_equivalents - first, 1 + 0.7 + 1.2 + 2.0 / 3 + 1.0 / 3, 1e-12);
}

}  // namespace
}  // namespace osculant
