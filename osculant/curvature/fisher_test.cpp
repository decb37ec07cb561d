#include "osculant/curvature/fisher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn.h>
#include <torch/types.h>

#include "osculant/base/error.h"
#include "osculant/base/random.h"
#include "osculant/base/testing.h"
#include "osculant/curvature/curvature.h"
#include "osculant/objective/weight_decay.h"

namespace osculant {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kExamples = 9;

torch::nn::Sequential small_net() {
  torch::manual_seed(4);
  torch::nn::Sequential net(torch::nn::Linear(2, 4), torch::nn::Tanh(), torch::nn::Linear(4, 3));
  net->to(torch::kFloat64);
  return net;
}

Tensor inputs() {
  return RandomStream(1, "x").normal({kExamples, 2}, at::kDouble);
}
Tensor labels() {
  return RandomStream(2, "y").integers(3, {kExamples});
}

Objective classifier(int64_t batch_size = 4, Tensor weights = {}) {
  return {Model(small_net()), CrossEntropy(), Dataset(inputs(), labels(), weights).batches(batch_size)};
}

Tensor flat_gradient(const Tensor& value, const torch::nn::Sequential& net) {
  std::vector<Tensor> parts;
  for (const auto& g : torch::autograd::grad({value}, net->parameters(), {}, true))
    parts.push_back(g.reshape({-1}));
  return at::cat(parts);
}

void expect_close(const Tensor& a, const Tensor& b, double tolerance = 1e-12) {
  ASSERT_EQ(a.sizes(), b.sizes());
  EXPECT_LE((a - b).norm().item<double>(), tolerance * b.norm().item<double>());
}

// The sum over classes c of p_c s_c s_c', s_c the gradient of log p_c, each by a backward pass of its own.
Tensor expected_fisher(const Tensor& example_weights) {
  auto net = small_net();
  Tensor x = inputs(), F = at::zeros({27, 27}, at::kDouble);
  for (int64_t i = 0; i < kExamples; ++i)
    for (int64_t c = 0; c < 3; ++c) {
      Tensor log_p = net->forward(x.slice(0, i, i + 1)).log_softmax(1)[0][c];
      Tensor s = flat_gradient(log_p, net);
      F += example_weights[i] * log_p.detach().exp() * s.outer(s);
    }
  return F / example_weights.sum();
}

TEST(Fisher, IsTheExpectedOuterProductOfScores) {
  expect_close(dense(Fisher(classifier())).matrix, expected_fisher(at::ones({kExamples}, at::kDouble)));
}

TEST(Fisher, WeighsExamplesAsTheObjectiveDoes) {
  Tensor w = at::arange(kExamples, at::kDouble) / 3;
  expect_close(dense(Fisher(classifier(4, w))).matrix, expected_fisher(w));
}

TEST(Fisher, IsOfTheDataTermsAlone) {
  auto objective = classifier();
  auto decayed = objective.plus(weight_decay(0.3));
  Tensor v = RandomStream(3, "v").normal({27}, at::kDouble);
  EXPECT_TRUE(Fisher(decayed).apply(v).equal(Fisher(objective).apply(v)));
}

TEST(Fisher, RefusesLossesAndTargetsWithoutALikelihood) {
  auto refused = [](const OutputLoss& loss, const Tensor& y) {
    Objective objective(Model(small_net()), loss, Dataset(inputs(), y).batches(4));
    return message_of([&] { Fisher F(objective); }, ErrorKind::usage);
  };
  auto soft = at::softmax(RandomStream(5, "y").normal({kExamples, 3}, at::kDouble), 1);
  EXPECT_THAT(refused(Huber(), soft), HasSubstr("loss huber is the negative log likelihood of no"));
  EXPECT_THAT(refused(CrossEntropy({.label_smoothing = 0.1, .class_weights = Tensor()}), labels()),
              HasSubstr("with class weights or label smoothing; use gauss_newton"));
  EXPECT_THAT(refused(CrossEntropy({.class_weights = at::ones({3}, at::kDouble)}), labels()),
              HasSubstr("class weights"));
  EXPECT_THAT(refused(CrossEntropy(), soft), HasSubstr("targets are probabilities"));
  EXPECT_THAT(refused(BinaryCrossEntropy(), soft), HasSubstr("not all 0 or 1"));
  EXPECT_THAT(refused(Poisson(), soft), HasSubstr("not whole numbers"));
}

// The sum of s s' over the very targets that were drawn has the rank of one vector an example and draw.
TEST(SampledFisher, HasAtMostOneDirectionAnExampleAndDraw) {
  SampledFisher F(classifier(), {.draws = 1, .seed = 1});
  Tensor l = at::linalg_eigvalsh(dense(F).matrix);
  double largest = l.max().item<double>();
  EXPECT_GT(l.min().item<double>(), -1e-13 * largest);
  EXPECT_LE((l > 1e-12 * largest).sum().item<int64_t>(), kExamples);
}

TEST(SampledFisher, IsOneMatrixForASeedWhateverTheBatches) {
  Tensor first = dense(SampledFisher(classifier(4), {.draws = 2, .seed = 1})).matrix;
  expect_close(dense(SampledFisher(classifier(kExamples), {.draws = 2, .seed = 1})).matrix, first);
  auto rebuilt = classifier(4);
  rebuilt.set_memory_budget(0);
  expect_close(dense(SampledFisher(rebuilt, {.draws = 2, .seed = 1})).matrix, first);
  Tensor other = dense(SampledFisher(classifier(4), {.draws = 2, .seed = 2})).matrix;
  EXPECT_GT((other - first).norm().item<double>(), 0.1 * first.norm().item<double>());
}

TEST(SampledFisher, DrawsTheSameTargetsAcrossBlocksOfExamples) {
  RandomStream random(8, "data");
  Dataset data(random.normal({600, 2}, at::kDouble), random.integers(3, {600}));
  Tensor v = random.normal({27}, at::kDouble);
  Objective whole(Model(small_net()), CrossEntropy(), data.full());
  Objective parts(Model(small_net()), CrossEntropy(), data.batches(170));
  expect_close(SampledFisher(parts).apply(v), SampledFisher(whole).apply(v));
}

// Over 400 seeds of 3 draws each: the mean of v'F v is the exact one to within four of its standard errors,
// the standard errors stated are on average the deviation over seeds, and the matrix approaches F.
void expect_unbiased(const Objective& objective) {
  Fisher exact(objective);
  int64_t n = objective.parameters();
  Tensor v = RandomStream(6, "v").normal({n}, at::kDouble), mean = at::zeros({n}, at::kDouble);
  double truth = v.dot(exact.apply(v)).item<double>(), sum = 0, squares = 0, stated = 0;
  constexpr int seeds = 400;
  for (uint64_t seed = 0; seed < seeds; ++seed) {
    SampledFisher F(objective, {.draws = 3, .seed = seed});
    QuadraticForm form = F.quadratic_form(v);
    Tensor Fv = F.apply(v);
    EXPECT_NEAR(form.value, v.dot(Fv).item<double>(), 1e-10 * truth);
    mean += Fv / seeds;
    sum += form.value;
    squares += form.value * form.value;
    stated += form.standard_error * form.standard_error;
  }
  double variance = squares / seeds - sum * sum / seeds / seeds;
  EXPECT_NEAR(sum / seeds, truth, 4 * std::sqrt(variance / seeds));
  EXPECT_NEAR(std::sqrt(stated / seeds), std::sqrt(variance), 0.2 * std::sqrt(variance));
  EXPECT_LT((mean - exact.apply(v)).norm().item<double>(), 0.1 * exact.apply(v).norm().item<double>());
}

TEST(SampledFisher, EstimatesFisherWithoutBiasAndStatesItsErrorForLabels) {
  expect_unbiased(classifier(kExamples, at::arange(kExamples, at::kDouble) / 3));
}

TEST(SampledFisher, EstimatesFisherWithoutBiasAndStatesItsErrorForNumbers) {
  Tensor y = RandomStream(7, "y").normal({kExamples, 3}, at::kDouble);
  expect_unbiased({Model(small_net()), MeanSquaredError(), Dataset(inputs(), y).batches(kExamples)});
}

TEST(SampledFisher, DoesNotKnowItsErrorFromOneDraw) {
  SampledFisher F(classifier(), {.draws = 1});
  EXPECT_TRUE(std::isnan(F.quadratic_form(at::ones({27}, at::kDouble)).standard_error));
}

TEST(SampledFisher, CostsAGaussNewtonProductForAnyNumberOfDraws) {
  auto objective = classifier();
  SampledFisher F(objective, {.draws = 5});
  F.apply(at::ones({27}, at::kDouble));
  double before = objective.ledger().gradient_equivalents();
  F.apply(at::ones({27, 3}, at::kDouble));
  EXPECT_NEAR(objective.ledger().gradient_equivalents() - before, 3 * Price::gauss_newton_product, 1e-12);
}

}  // namespace
}  // namespace osculant
