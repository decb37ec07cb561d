#include "osculant/curvature/squared_gradients.h"

#include <gtest/gtest.h>
#include <torch/nn.h>

#include <string>
#include <vector>

#include "osculant/base/error.h"
#include "osculant/objective/linearization.h"
#include "osculant/objective/testing.h"

namespace osculant {
namespace {

constexpr int64_t kExamples = 10;

void expect_near(const Tensor& value, const Tensor& expected) {
  ASSERT_EQ(value.sizes(), expected.sizes());
  EXPECT_LT((value - expected).norm().item<double>(), 1e-12 * expected.norm().item<double>());
}

class SquaredGradientsOf : public testing::TestWithParam<LayerCase> {};
INSTANTIATE_TEST_SUITE_P(Cases, SquaredGradientsOf, testing::ValuesIn(layer_cases()),
                         [](const auto& info) { return info.param.name; });

// A pass of autograd for each example.
TEST_P(SquaredGradientsOf, AreThoseOfSingleExamples) {
  auto [objective, batch] = GetParam().make();
  LayerFactors factors(objective, 0, batch);
  double scale = objective.linearize({})->scale(0) * static_cast<double>(batch.size());
  Tensor expected = autograd_rows(factors, factors.loss_gradient())[0].mul(scale).square().mean(0);
  auto squares = mean_squared_gradients(objective);
  std::vector<std::string> untapped;
  for (const auto& parameter : squares.untapped) {
    const auto& at = objective.layout().parameters()[parameter.index];
    untapped.push_back(at.name);
    expected.narrow(0, at.offset, at.size).zero_();
  }
  EXPECT_EQ(untapped, GetParam().untapped);
  expect_near(squares.mean, expected);
}

// Weighted examples in batches of 4, 4 and 2, and two terms of one network.
TEST(SquaredGradients, OfSeveralTermsAddUp) {
  torch::manual_seed(4);
  torch::nn::Sequential net(torch::nn::Linear(3, 4), torch::nn::Tanh(), torch::nn::Linear(4, 3));
  net->to(at::kDouble);
  Model model(net);
  Tensor x = layer_case::normal({kExamples, 3}, 1), w = layer_case::normal({kExamples}, 2).square();
  Term first{model, CrossEntropy(), Dataset(x, at::arange(kExamples, at::kLong).remainder(3), w).batches(4),
             0.7};
  Term second{model, MeanSquaredError(), Dataset(x.sin(), x).batches(4), 2.0};
  // With f = sum of p_i f_i an example's part in a mean over them is N p_i of its own gradient.
  auto expected = [&](const Term& term, const Tensor& shares) {
    Objective whole({term});
    Tensor sum = at::zeros({whole.parameters()}, at::kDouble);
    for (int64_t i = 0; i < kExamples; ++i) {
      Tensor g = whole.on(term.data.source()->range(i, i + 1)).value_and_gradient().second;
      sum += (g * shares[i] * kExamples).square() / kExamples;
    }
    return sum;
  };
  Tensor equal = at::full({kExamples}, 1.0 / kExamples, at::kDouble);
  expect_near(mean_squared_gradients(Objective({first, second})).mean,
              expected(first, w / w.sum()) + expected(second, equal));
}

TEST(SquaredGradients, CostOneMoreGradientAndRefuseExamplesThatMix) {
  auto [objective, batch] = layer_cases()[0].make();
  double before = objective.ledger().gradient_equivalents();
  mean_squared_gradients(objective);
  // Six examples verify themselves, by two passes back to the layers' outputs more.
  EXPECT_NEAR(objective.ledger().gradient_equivalents() - before, 4.0 / 3, 1e-12);
  torch::nn::Sequential net(torch::nn::Linear(3, 4), torch::nn::BatchNorm1d(4));
  net->to(at::kDouble);
  Tensor x = layer_case::normal({6, 3}, 1), y = layer_case::normal({6, 4}, 2);
  EXPECT_THROW(mean_squared_gradients(Objective(net, MeanSquaredError(), Dataset(x, y).full())), Error);
}

}  // namespace
}  // namespace osculant
