#include "osculant/model/likelihood.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "osculant/base/random.h"
#include "osculant/model/output_loss.h"

namespace osculant {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kDraws = 20000;

Tensor draws(const Likelihood& likelihood, const Tensor& z, std::vector<int64_t> shape) {
  return likelihood.draw(z, RandomStream(1, "test").uniform(shape, at::kDouble));
}

TEST(Likelihood, NormalDrawsHaveMeanZAndVarianceOneHalf) {
  Tensor y = draws(*gaussian_likelihood(), at::full({kDraws}, 3., at::kDouble), {kDraws});
  double error = std::sqrt(0.5 / kDraws);
  EXPECT_NEAR(y.mean().item<double>(), 3, 4 * error);
  EXPECT_NEAR(y.var().item<double>(), 0.5, 4 * 0.5 * std::sqrt(2. / kDraws));
}

TEST(Likelihood, LabelsComeAsOftenAsTheSoftmaxSays) {
  Tensor logits = at::tensor({0.3, -1e3, 1.5, -0.7}, at::kDouble), p = logits.softmax(0);
  Tensor z = logits.view({1, 4, 1}).expand({kDraws / 2, 4, 2});
  Tensor y = draws(*categorical_likelihood(), z, {kDraws / 2, 2});
  EXPECT_EQ(y.scalar_type(), at::kLong);
  for (int64_t k = 0; k < 4; ++k) {
    double expected = p[k].item<double>();
    double error = std::sqrt(expected * (1 - expected) / kDraws);
    EXPECT_NEAR(y.eq(k).to(at::kDouble).mean().item<double>(), expected, 4 * error) << k;
  }
}

TEST(Likelihood, ZeroOrOneByTheSigmoid) {
  Tensor y = draws(*bernoulli_likelihood(), at::full({kDraws}, 0.8), {kDraws});
  double p = 1 / (1 + std::exp(-0.8));
  EXPECT_EQ(y.scalar_type(), at::kFloat);
  EXPECT_NEAR(y.mean().item<double>(), p, 4 * std::sqrt(p * (1 - p) / kDraws));
}

// P(k) = exp(-m) m^k / k! of every count that is expected 10 times or more.
TEST(Likelihood, CountsComeAsOftenAsPoissonSays) {
  for (double log_mean : {-2., 0.7, 5.}) {
    Tensor y = draws(*poisson_likelihood(), at::full({kDraws}, log_mean, at::kDouble), {kDraws});
    double mean = std::exp(log_mean);
    EXPECT_NEAR(y.mean().item<double>(), mean, 4 * std::sqrt(mean / kDraws));
    for (int64_t k = 0; k < 300; ++k) {
      double p =
          std::exp(-mean + static_cast<double>(k) * log_mean - std::lgamma(static_cast<double>(k) + 1));
      if (p * kDraws < 10) continue;
      EXPECT_NEAR(y.eq(k).sum().item<double>(), p * kDraws, 5 * std::sqrt(p * kDraws)) << k << " of " << mean;
    }
  }
}

// The distribution function at its own steps: u just below P(y <= k) gives k, just above it k + 1.
TEST(Likelihood, APoissonCountChangesWhereTheDistributionFunctionDoes) {
  double cumulative = 0, term = std::exp(-3.);
  for (int64_t k = 0; k < 12; ++k) {
    cumulative += term;
    term *= 3. / static_cast<double>(k + 1);
    Tensor u = at::tensor({cumulative - 1e-9, cumulative + 1e-9}, at::kDouble);
    Tensor y = poisson_likelihood()->draw(at::full({2}, std::log(3.), at::kDouble), u);
    EXPECT_EQ(y[0].item<double>(), static_cast<double>(k));
    EXPECT_EQ(y[1].item<double>(), static_cast<double>(k + 1));
  }
}

// E over drawn y of (dl/dz)^2 is l''(z), for each loss that has a likelihood.
TEST(Likelihood, IsThatOfTheLossThatNamesIt) {
  for (const auto& loss : {MeanSquaredError(), BinaryCrossEntropy(), Poisson()}) {
    Tensor z = at::full({kDraws, 1}, 0.4, at::kDouble).requires_grad_();
    Tensor u = RandomStream(2, "test").uniform({kDraws, 1}, at::kDouble);
    Batch batch{{}, {{"", loss->likelihood()->draw(z.detach(), u)}}, Tensor()};
    Tensor squares = torch::autograd::grad({loss->sum({z}, batch)}, {z})[0].square();
    Tensor curvature = loss->hessian_product({z.detach()}, batch, {at::ones_like(z)})[0].mean();
    double error = squares.std().item<double>() / std::sqrt(static_cast<double>(kDraws));
    EXPECT_NEAR(squares.mean().item<double>(), curvature.item<double>(), 4 * error) << loss.name();
  }
}

TEST(Likelihood, LossesThatAreNoLikelihoodHaveNone) {
  EXPECT_EQ(Huber()->likelihood(), nullptr);
  EXPECT_EQ(CrossEntropy({.label_smoothing = 0.1, .class_weights = Tensor()})->likelihood(), nullptr);
  EXPECT_EQ(CrossEntropy({.class_weights = at::ones({3})})->likelihood(), nullptr);
  EXPECT_EQ(CrossEntropy()->likelihood()->name(), "categorical");
}

TEST(Likelihood, RefusesTargetsItCouldNotHaveDrawn) {
  EXPECT_THAT(categorical_likelihood()->refusal(at::rand({4, 3})), HasSubstr("probabilities"));
  EXPECT_EQ(categorical_likelihood()->refusal(at::ones({4}, at::kLong)), "");
  EXPECT_THAT(bernoulli_likelihood()->refusal(at::tensor({0., 0.5})), HasSubstr("0 or 1"));
  EXPECT_EQ(bernoulli_likelihood()->refusal(at::tensor({0., 1.})), "");
  EXPECT_THAT(poisson_likelihood()->refusal(at::tensor({2., 0.5})), HasSubstr("whole"));
  EXPECT_EQ(poisson_likelihood()->refusal(at::tensor({2, 5})), "");
}

}  // namespace
}  // namespace osculant
