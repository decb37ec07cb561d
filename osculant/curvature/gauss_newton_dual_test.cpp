#include "osculant/curvature/gauss_newton_dual.h"

#include <gtest/gtest.h>
#include <torch/nn.h>

#include "osculant/base/error.h"
#include "osculant/curvature/curvature.h"
#include "osculant/objective/testing.h"

namespace osculant {
namespace {

void expect_near(const Tensor& value, const Tensor& expected) {
  ASSERT_EQ(value.sizes(), expected.sizes());
  EXPECT_LT((value - expected).norm().item<double>(), 1e-12 * expected.norm().item<double>());
}

// A'A = G, A A' the gram, A'r the gradient: with A by its products with unit vectors.
void expect_dual(const Objective& objective) {
  auto dual = gauss_newton_dual(objective);
  ASSERT_TRUE(dual);
  int64_t n = objective.parameters(), m = dual->residual.numel();
  Tensor A = at::empty({m, n}, at::kDouble), unit = at::eye(m, at::kDouble);
  for (int64_t i = 0; i < m; ++i) A[i].copy_(root_transpose_product(objective, unit[i]));
  expect_near(A.t().mm(A), to_dense(GaussNewton(objective)));
  expect_near(dual->gram, A.mm(A.t()));
  expect_near(A.t().mv(dual->residual), objective.value_and_gradient().second);
  Tensor v = layer_case::normal({n}, 3);
  expect_near(root_product(objective, v), A.mv(v));
}

class DualOf : public testing::TestWithParam<LayerCase> {};
INSTANTIATE_TEST_SUITE_P(Cases, DualOf, testing::ValuesIn(layer_cases()),
                         [](const auto& info) { return info.param.name; });

TEST_P(DualOf, IsThatOfTheGaussNewtonMatrix) {
  auto [objective, batch] = GetParam().make();
  if (GetParam().untapped.empty())
    expect_dual(objective);
  else
    EXPECT_FALSE(gauss_newton_dual(objective));
}

// Weighted examples in batches of 4, 4 and 3, with room for all rows and for none.
TEST(GaussNewtonDual, IsStreamedWithinTheBudget) {
  torch::manual_seed(4);
  torch::nn::Sequential net(torch::nn::Linear(3, 30), torch::nn::Tanh(), torch::nn::Linear(30, 4));
  net->to(at::kDouble);
  Tensor x = layer_case::normal({11, 3}, 1), w = layer_case::normal({11}, 2).square();
  Objective objective(net, CrossEntropy(), Dataset(x, at::arange(11, at::kLong).remainder(4), w).batches(4));
  expect_dual(objective);
  Tensor gram = gauss_newton_dual(objective)->gram;
  int64_t rows = 11 * 3, bytes = rows * rows * 8;
  ASSERT_EQ(gram.size(0), rows);
  ASSERT_LT(bytes, rows * objective.parameters() * 8);
  objective.set_memory_budget(bytes);
  expect_near(gauss_newton_dual(objective)->gram, gram);
  objective.set_memory_budget(bytes - 1);
  EXPECT_THROW(gauss_newton_dual(objective), Error);
}

}  // namespace
}  // namespace osculant
