#include "osculant/spectrum/rank.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <numeric>

#include "osculant/base/random.h"
#include "osculant/curvature/curvature.h"
#include "osculant/curvature/rank_bound.h"
#include "osculant/linop/operators.h"
#include "osculant/model/zoo.h"

namespace osculant {
namespace {

// d inputs of full rank, bias-free linear layers of these widths, K outputs; generic weights and targets.
struct LinearNet {
  int64_t inputs;
  std::vector<int64_t> widths;
  int64_t outputs;
};

class DeepLinearNet : public ::testing::TestWithParam<LinearNet> {};

// Singh, Bachmann & Hofmann 2021: with q = min(r, widths, K), s = min(r, K), M the sum of the widths and L
// weight matrices the ranks of the outer product part G, of the functional part H - G and of H.
TEST_P(DeepLinearNet, HasTheRankOfTheory) {
  auto [d, widths, K] = GetParam();
  int64_t q = std::min(d, K), s = q, M = 0, L = static_cast<int64_t>(widths.size()) + 1;
  for (int64_t width : widths) {
    q = std::min(q, width);
    M += width;
  }
  std::vector<int64_t> all{d};
  all.insert(all.end(), widths.begin(), widths.end());
  all.push_back(K);
  Model net = mlp({.widths = all,
                   .activation = Activation::identity,
                   .bias = false,
                   .initialization = {.kind = Initialization::xavier, .seed = 3},
                   .dtype = at::kDouble});
  RandomStream random(4, "data");
  Tensor x = random.normal({40, d}, at::kDouble), y = random.normal({40, K}, at::kDouble);
  Objective objective(net, MeanSquaredError(), Dataset(x, y).batches(40));
  auto H = std::make_shared<Hessian>(objective);
  auto G = std::make_shared<GaussNewton>(objective);
  auto expect_rank = [&](const LinearOperator& A, int64_t expected) {
    auto result = rank(A);
    EXPECT_EQ(result.threshold, 1e-9);
    EXPECT_EQ(result.numerical.low, expected) << A.name();
    EXPECT_EQ(result.numerical.high, expected) << A.name();
  };
  expect_rank(*G, q * (d + K - q));
  expect_rank(*function_operator(
                  H->domain(), [&](const Tensor& X) { return H->apply(X) - G->apply(X); }, "functional part"),
              2 * q * M + 2 * q * s - L * q * q);
  expect_rank(*H, 2 * q * M - L * q * q + q * (d + K));
}

INSTANTIATE_TEST_SUITE_P(H1, DeepLinearNet,
                         ::testing::Values(LinearNet{4, {3}, 2}, LinearNet{5, {5, 5}, 3},
                                           LinearNet{6, {2, 7}, 3}, LinearNet{3, {6, 4}, 4}));

TEST(RankBound, IsTheNumberOfOutputsThatTheLossCurves) {
  Model net = mlp({.widths = {4, 6, 3}, .activation = Activation::tanh, .dtype = at::kDouble});
  RandomStream random(5, "data");
  Tensor x = random.normal({5, 4}, at::kDouble), y = random.normal({5, 3}, at::kDouble);
  Tensor labels = random.integers(3, {5});
  Objective squares(net, MeanSquaredError(), Dataset(x, y).batches(2)),
      entropy(net, CrossEntropy(), Dataset(x, labels).batches(2));
  EXPECT_EQ(gauss_newton_rank_bound(squares), 15);
  EXPECT_EQ(gauss_newton_rank_bound(entropy), 10);
  EXPECT_EQ(rank(GaussNewton(squares)).numerical.high, 15);
  EXPECT_EQ(rank(GaussNewton(entropy)).numerical.high, 10);
  Tensor many = random.normal({300, 4}, at::kDouble);
  Objective large(net, MeanSquaredError(), Dataset(many, random.normal({300, 3}, at::kDouble)).batches(300));
  EXPECT_EQ(gauss_newton_rank_bound(large), large.parameters());
}

}  // namespace
}  // namespace osculant
