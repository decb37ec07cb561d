#include "osculant/objective/layer_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "osculant/base/testing.h"
#include "osculant/objective/testing.h"

namespace osculant {
namespace {

constexpr int64_t plenty = int64_t{1} << 30;

void expect_near(const Tensor& value, const Tensor& expected) {
  ASSERT_EQ(value.sizes(), expected.sizes());
  EXPECT_LT((value - expected).norm().item<double>(), 1e-12 * expected.norm().item<double>());
}

class LayerRowsOf : public testing::TestWithParam<LayerCase> {};

TEST_P(LayerRowsOf, AreAutogradsToTheLastParameter) {
  auto [objective, batch] = GetParam().make();
  LayerFactors factors(objective, 0, batch), others(objective, 0, batch.slice(0, 2));
  auto u = random_columns(factors, 2, 3), w = random_columns(others, 3, 4);
  LayerRows rows(factors, u, plenty), other(others, w, plenty);
  Tensor J = autograd_rows(factors, u), Q = autograd_rows(others, w);
  expect_near(rows.dense(), J);
  expect_near(rows.squared_norms(), J.square().sum(2));
  expect_near(rows.products_with(other), at::einsum("cnp,kmp->cnkm", {J, Q}));
  Tensor v = RandomStream(6, "test").normal({objective.parameters()}, at::kDouble);
  expect_near(rows.products_with(v), J.matmul(v));
}

// Chunks of one example, and products of rows in place of pairs of positions, are the same sums.
TEST_P(LayerRowsOf, DoNotDependOnTheBudget) {
  auto [objective, batch] = GetParam().make();
  LayerFactors factors(objective, 0, batch);
  auto u = random_columns(factors, 2, 3);
  LayerRows rows(factors, u, plenty), narrow(factors, u, 4000);
  expect_near(narrow.squared_norms(), rows.squared_norms());
  expect_near(narrow.products_with(narrow), rows.products_with(rows));
}

INSTANTIATE_TEST_SUITE_P(Cases, LayerRowsOf, testing::ValuesIn(layer_cases()),
                         [](const auto& info) { return info.param.name; });

TEST(LayerRows, MoreThanTheBudgetIsRefused) {
  auto [objective, batch] = layer_cases()[0].make();
  LayerFactors factors(objective, 0, batch);
  LayerRows rows(factors, factors.loss_gradient(), 1000);
  EXPECT_THAT(message_of([&] { rows.dense(); }, ErrorKind::memory),
              testing::HasSubstr("take smaller batches"));
}

}  // namespace
}  // namespace osculant
