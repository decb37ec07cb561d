#include "osculant/curvature/example_gradients.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn.h>

#include "osculant/base/testing.h"
#include "osculant/objective/testing.h"

namespace osculant {
namespace {

constexpr int64_t kExamples = 10;

// 10 weighted examples in batches of 4, 4 and 2.
Objective classifier() {
  torch::manual_seed(4);
  torch::nn::Sequential net(torch::nn::Conv1d(1, 2, 2), torch::nn::Tanh(), torch::nn::Flatten(),
                            torch::nn::Linear(6, 3));
  net->to(at::kDouble);
  RandomStream random(1, "data");
  Tensor x = random.normal({kExamples, 1, 4}, at::kDouble), y = random.integers(3, {kExamples});
  Tensor w = random.uniform({kExamples}, at::kDouble) + 0.5;
  return {Model(net), CrossEntropy(), Dataset(x, y, w).batches(4)};
}

// g_i, each example an objective of its own.
Tensor by_single_examples(const Objective& objective) {
  std::vector<Tensor> rows;
  for (int64_t i = 0; i < kExamples; ++i) {
    Batch one = objective.terms()[0].data.source()->range(i, i + 1);
    rows.push_back(objective.on(one).value_and_gradient().second);
  }
  return at::stack(rows);
}

void expect_near(const Tensor& value, const Tensor& expected) {
  ASSERT_EQ(value.sizes(), expected.sizes());
  EXPECT_LT((value - expected).norm().item<double>(), 1e-12 * expected.norm().item<double>());
}

TEST(ExampleGradients, AreThoseOfExamplesAlone) {
  Objective objective = classifier();
  Tensor expected = by_single_examples(objective);
  for (int64_t budget : {int64_t{1} << 30, int64_t{3000}}) {  // of two examples' gradients
    objective.set_memory_budget(budget);
    Tensor G = at::empty_like(expected);
    visit_example_gradients(
        objective, [&](int64_t first, const Tensor& rows) { G.narrow(0, first, rows.size(0)).copy_(rows); });
    expect_near(G, expected);
    expect_near(squared_gradient_norms(objective), expected.square().sum(1));
    expect_near(gradient_products(objective), expected.mm(expected.t()));
  }
  Tensor v = RandomStream(2, "v").normal({objective.parameters()}, at::kDouble), norms;
  expect_near(gradient_products(objective, v, &norms), expected.mv(v));
  expect_near(norms, expected.square().sum(1));
}

TEST(ExampleGradients, GiveTheEmpiricalFisherWhole) {
  Objective objective = classifier();
  Tensor G = by_single_examples(objective),
         w = objective.terms()[0].data.source()->range(0, kExamples).weights;
  Tensor E = (G * (w / w.sum()).unsqueeze(1)).t().mm(G);
  expect_near(empirical_fisher_matrix(objective), E);
  ASSERT_GT(objective.parameters(), kExamples);
  expect_near(empirical_fisher_eigenvalues(objective),
              at::linalg_eigvalsh(E).flip(0).narrow(0, 0, kExamples));
}

// J by a gradient for each output of each example; blocks of 4, 4 and 2 examples.
TEST(TangentKernel, IsJTimesJTransposed) {
  Objective objective = classifier();
  std::vector<Tensor> rows;
  for (int64_t i = 0; i < kExamples; ++i) {
    Tensor z = objective.terms()[0].model.forward(objective.terms()[0].data.source()->range(i, i + 1))[0];
    for (int64_t k = 0; k < 3; ++k)
      rows.push_back(objective.layout().flatten(
          torch::autograd::grad({z[0][k]}, objective.layout().leaves(), {}, true)));
  }
  Tensor J = at::stack(rows);
  expect_near(tangent_kernel(objective), J.mm(J.t()));
  objective.set_memory_budget(10000);  // rows of batches are made again
  expect_near(tangent_kernel(objective), J.mm(J.t()));
  objective.set_memory_budget(5000);
  EXPECT_THAT(message_of([&] { tangent_kernel(objective); }, ErrorKind::memory),
              testing::HasSubstr("by blocks"));
  int64_t blocks = 0;
  visit_tangent_kernel(objective, [&](int64_t row, int64_t column, const Tensor& block) {
    ++blocks;
    expect_near(block, J.narrow(0, row, block.size(0)).mm(J.narrow(0, column, block.size(1)).t()));
  });
  EXPECT_EQ(blocks, 6);
}

}  // namespace
}  // namespace osculant
