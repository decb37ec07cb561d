#include "osculant/curvature/curvature.h"

#include <gtest/gtest.h>
#include <torch/nn.h>

#include "osculant/base/error.h"
#include "osculant/linop/operators.h"
#include "osculant/objective/weight_decay.h"

namespace osculant {
namespace {

Objective regression(bool convex = true) {
  torch::manual_seed(1);
  torch::nn::Sequential net(torch::nn::Linear(3, 6), torch::nn::Tanh(), torch::nn::Linear(6, 2));
  net->to(torch::kFloat64);
  auto x = at::randn({10, 3}, at::kDouble), y = at::randn({10, 2}, at::kDouble);
  auto loss = convex ? MeanSquaredError() : FunctionLoss([](const auto& z, const Batch& b) {
    return (z[0] - b.targets[0].tensor).sin().sum(1);
  });
  return Objective(Model(net), loss, Dataset(x, y).batches(4));
}

TEST(Curvature, DenseHessianIsSymmetricToRounding) {
  auto H = dense(Hessian(regression()));
  EXPECT_LT(H.asymmetry, 1e-12);
  EXPECT_TRUE(H.matrix.equal(H.matrix.t()));
  EXPECT_EQ(H.matrix.size(0), 38);
}

TEST(Curvature, GaussNewtonOfAConvexLossIsPositiveSemidefiniteOfRankAtMostNK) {
  GaussNewton G(regression());
  EXPECT_TRUE(G.positive_semidefinite());
  auto values = at::linalg_eigvalsh(dense(G).matrix);
  double largest = values.max().item<double>();
  EXPECT_GT(values.min().item<double>(), -1e-12 * largest);
  EXPECT_LE((values > 1e-10 * largest).sum().item<int64_t>(), 10 * 2);
}

TEST(Curvature, GaussNewtonOfAnUndeclaredLossDoesNotPromiseDefiniteness) {
  EXPECT_FALSE(GaussNewton(regression(false)).positive_semidefinite());
}

// H = G + sum over outputs of (dl/dz) d2z/dtheta2, and the second part vanishes for a network linear in
// theta.
TEST(Curvature, HessianEqualsGaussNewtonForALinearModel) {
  torch::nn::Sequential net(torch::nn::Linear(3, 2));
  net->to(torch::kFloat64);
  auto x = at::randn({10, 3}, at::kDouble), y = at::randn({10, 2}, at::kDouble);
  Objective objective(Model(net), MeanSquaredError(), Dataset(x, y).batches(4));
  auto H = dense(Hessian(objective)).matrix, G = dense(GaussNewton(objective)).matrix;
  EXPECT_LT((H - G).norm().item<double>(), 1e-13 * H.norm().item<double>());
}

// Both of whose parts are of the data terms: weight decay is in neither.
TEST(Curvature, FunctionalPartIsWhatGaussNewtonLeavesOut) {
  auto objective = regression();
  auto H = dense(Hessian(objective)).matrix, G = dense(GaussNewton(objective)).matrix;
  FunctionalPart functional(objective.plus(weight_decay(0.5)));
  double before = objective.ledger().gradient_equivalents();
  auto part = dense(functional).matrix;
  EXPECT_LT((part - (H - G)).norm().item<double>(), 1e-13 * H.norm().item<double>());
  EXPECT_GT(part.norm().item<double>(), 0.01 * H.norm().item<double>());
  EXPECT_NEAR(objective.ledger().gradient_equivalents() - before,
              Price::gradient_graph + Price::output_graph +
                  38 * (Price::hessian_product + Price::gauss_newton_product),
              1e-9);
}

TEST(Curvature, RestrictionToALayerIsItsDiagonalBlock) {
  auto objective = regression();
  auto H = std::make_shared<Hessian>(objective);
  auto indices = objective.layout().indices({"2.*"});
  auto block = dense(*restriction(H, indices)).matrix;
  auto whole = dense(*H).matrix;
  EXPECT_LT((block - whole.index_select(0, indices).index_select(1, indices)).abs().max().item<double>(),
            1e-13);
}

TEST(Curvature, RefusesADenseMatrixThatIsTooLarge) {
  try {
    dense(Hessian(regression()), 10);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::memory);
    EXPECT_THAT(error.what(), testing::HasSubstr("n must be <= 10"));
  }
}

}  // namespace
}  // namespace osculant
