#include "osculant/curvature/empirical_fisher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn.h>
#include <torch/types.h>

#include "osculant/base/random.h"
#include "osculant/base/testing.h"
#include "osculant/curvature/curvature.h"
#include "osculant/objective/weight_decay.h"

namespace osculant {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kExamples = 10;

Model small_model() {
  torch::manual_seed(4);
  torch::nn::Sequential net(torch::nn::Linear(2, 4), torch::nn::Tanh(), torch::nn::Linear(4, 3));
  net->to(torch::kFloat64);
  return Model(net);
}

Dataset numbers(Tensor weights = {}) {
  RandomStream random(1, "data");
  Tensor x = random.normal({kExamples, 2}, at::kDouble), y = random.normal({kExamples, 3}, at::kDouble);
  return Dataset(x, y, std::move(weights));
}

Dataset labelled(Tensor weights = {}) {
  RandomStream random(2, "data");
  Tensor x = random.normal({kExamples, 2}, at::kDouble);
  return Dataset(x, random.integers(3, {kExamples}), std::move(weights));
}

struct Moments {
  Tensor E, g;
};

// Each example as an objective of its own.
Moments by_single_examples(const Objective& objective, const Tensor& share) {
  int64_t n = objective.parameters();
  Moments m{at::zeros({n, n}, at::kDouble), at::zeros({n}, at::kDouble)};
  for (int64_t i = 0; i < kExamples; ++i) {
    Batch one = objective.terms()[0].data.source()->range(i, i + 1);
    one.weights = Tensor();
    Tensor g = objective.on(one).value_and_gradient().second;
    m.E += share[i] * g.outer(g);
    m.g += share[i] * g;
  }
  return m;
}

void expect_close(const Tensor& a, const Tensor& b, double tolerance = 1e-12) {
  ASSERT_EQ(a.sizes(), b.sizes());
  EXPECT_LE((a - b).norm().item<double>(), tolerance * b.norm().item<double>());
}

void expect_moments(const Objective& objective, const Tensor& share) {
  auto [E, g] = by_single_examples(objective, share);
  expect_close(dense(EmpiricalFisher(objective)).matrix, E);
  GradientCovariance C(objective);
  expect_close(C.gradient(), g);
  expect_close(dense(C).matrix, E - g.outer(g));
}

TEST(EmpiricalFisher, AndTheCovarianceAreMomentsOfTheGradientsOfSingleExamples) {
  Tensor equal = at::full({kExamples}, 1. / kExamples, at::kDouble);
  for (const auto& loss : {MeanSquaredError(), MeanSquaredError({.outputs = OutputReduction::sum}), Huber()})
    expect_moments({small_model(), loss, numbers().batches(4)}, equal);
  for (const auto& loss : {CrossEntropy(), CrossEntropy({.label_smoothing = 0.2, .class_weights = Tensor()})})
    expect_moments({small_model(), loss, labelled().batches(4)}, equal);
}

TEST(EmpiricalFisher, WeighsExamplesByTheirShare) {
  Tensor w = at::arange(kExamples, at::kDouble);  // the first weighs nothing
  expect_moments({small_model(), MeanSquaredError(), numbers(w).batches(4)}, w / w.sum());
}

// Class weights are a part of an example's loss: N c_i / (sum of c) of the plain one.
TEST(EmpiricalFisher, TakesClassWeightsForAPartOfTheLoss) {
  Tensor c = at::tensor({0.5, 1., 3.}, at::kDouble);
  auto data = labelled();
  Tensor of_label = c.index_select(0, data.examples().targets[0].tensor);
  Objective weighted(small_model(), CrossEntropy({.class_weights = c}), data.batches(4));
  Objective plain(small_model(), CrossEntropy(), data.batches(4));
  Tensor mean = of_label.mean(), share = of_label.square() / mean.square() / kExamples;
  expect_close(dense(EmpiricalFisher(weighted)).matrix, by_single_examples(plain, share).E);
}

TEST(EmpiricalFisher, IsOfTheDataTermsAloneAndDoesNotAskWhetherGraphsAreKept) {
  Objective objective(small_model(), CrossEntropy(), labelled().batches(3));
  Tensor V = RandomStream(3, "v").normal({27, 2}, at::kDouble);
  Tensor E = EmpiricalFisher(objective).apply(V), C = GradientCovariance(objective).apply(V);
  auto decayed = objective.plus(weight_decay(0.3));
  decayed.set_memory_budget(0);
  EXPECT_TRUE(EmpiricalFisher(decayed).apply(V).equal(E));
  EXPECT_TRUE(GradientCovariance(decayed).apply(V).equal(C));
}

TEST(EmpiricalFisher, ReadsSeveralOutputs) {
  torch::manual_seed(5);
  torch::nn::Linear layer(2, 3);
  layer->to(torch::kFloat64);
  Model two(layer.ptr(), [layer](const Model::Inputs& x) mutable -> Model::Outputs {
    Tensor z = layer->forward(x[0]);
    return {z.tanh(), z.square().sum(1)};
  });
  auto loss = FunctionLoss([](const auto& z, const Batch&) { return z[0].exp().sum(1) * z[1]; });
  expect_moments({two, loss, numbers().batches(4)}, at::full({kExamples}, 1. / kExamples, at::kDouble));
}

TEST(EmpiricalFisher, CostsAGaussNewtonProduct) {
  Objective objective(small_model(), CrossEntropy(), labelled().batches(4));
  EmpiricalFisher E(objective);
  double before = objective.ledger().gradient_equivalents();
  E.apply(at::ones({27, 3}, at::kDouble));
  EXPECT_NEAR(objective.ledger().gradient_equivalents() - before, 3 * Price::gauss_newton_product, 1e-12);
  EXPECT_EQ(objective.ledger().products(), 3);
}

TEST(EmpiricalFisher, RefusesWhatHasNoGradientsOfSingleExamples) {
  Model model = small_model();
  Objective two(
      {{model, MeanSquaredError(), numbers().batches(4)}, {model, MeanSquaredError(), numbers().batches(4)}});
  EXPECT_THAT(message_of([&] { EmpiricalFisher E(two); }, ErrorKind::usage), HasSubstr("one data term"));
  EXPECT_THAT(message_of([&] { GradientCovariance C(two); }, ErrorKind::usage),
              HasSubstr("gradient_covariance"));
}

}  // namespace
}  // namespace osculant
