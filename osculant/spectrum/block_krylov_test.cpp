#include "osculant/spectrum/block_krylov.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include "osculant/spectrum/ritz.h"
#include "osculant/spectrum/testing.h"

namespace osculant {
namespace {

using testing::largest;
using testing::rotated_diagonal;

// V'V = I, T = V'A V, norm(A V s - theta V s) = norm(C s).
void expect_process(const LinearOperator& A, const BlockKrylov& krylov, double scale) {
  double tolerance = 200 * A.domain().epsilon();
  int64_t m = krylov.size();
  Tensor V = krylov.combine(at::eye(m, at::kDouble)), AV = A.apply(V).to(at::kDouble);
  V = V.to(at::kDouble);
  EXPECT_LT(largest(V.t().mm(V) - at::eye(m, at::kDouble)), tolerance);
  EXPECT_LT(largest(V.t().mm(AV) - krylov.projected()), tolerance * scale);
  Tensor R = AV - V.mm(krylov.projected());
  EXPECT_LT(largest(AV - krylov.known_product(at::eye(m, at::kDouble)).to(at::kDouble)), tolerance * scale);
  EXPECT_LT(largest(R.t().mm(R) - krylov.coupling().t().mm(krylov.coupling())), tolerance * scale * scale);
}

class BlockKrylovProcess : public ::testing::TestWithParam<at::ScalarType> {};

TEST_P(BlockKrylovProcess, KeepsItsEquationThroughAimsAndRestarts) {
  Tensor eigenvalues = at::linspace(-3, 5, 120, at::kDouble);
  auto A = rotated_diagonal(eigenvalues, 1, GetParam());
  RandomStream random(2, "block");
  BlockKrylov krylov(*A, 30, random);
  ASSERT_TRUE(krylov.start(random.normal({120, 4}, A->domain().options())));
  for (int cycle = 0; cycle < 4; ++cycle) {
    while (!krylov.full()) {
      ASSERT_TRUE(krylov.extend());
      if (krylov.size() % 3 == 0) krylov.aim(columns_of(ritz_pairs(krylov).vectors, {krylov.size() - 1, 0}));
    }
    expect_process(*A, krylov, 5);
    Ritz ritz = ritz_pairs(krylov);
    krylov.restart(columns_of(ritz.vectors, {0, 1, krylov.size() - 2, krylov.size() - 1}),
                   ritz.values.index_select(
                       0, at::tensor({int64_t{0}, int64_t{1}, krylov.size() - 2, krylov.size() - 1})));
    expect_process(*A, krylov, 5);
  }
}

TEST_P(BlockKrylovProcess, AimsAtTheResidualOfAPair) {
  auto A = rotated_diagonal(at::linspace(-3, 5, 120, at::kDouble), 1, GetParam());
  RandomStream random(2, "block");
  BlockKrylov krylov(*A, 30, random);
  krylov.start(random.normal({120, 4}, A->domain().options()));
  for (int i = 0; i < 8; ++i) krylov.extend();
  Ritz ritz = ritz_pairs(krylov);
  Tensor S = columns_of(ritz.vectors, {7, 2});
  krylov.aim(S);
  Tensor C = krylov.coupling().mm(S);  // the residuals in terms of W: upper triangular
  EXPECT_NEAR(std::abs(C[0][0].item<double>()), ritz.residual[7], 1e-5);
  EXPECT_LT(largest(C.select(1, 0).slice(0, 1)), 1e-5);
  EXPECT_LT(largest(C.select(1, 1).slice(0, 2)), 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Dtypes, BlockKrylovProcess, ::testing::Values(at::kFloat, at::kDouble));

TEST(BlockKrylov, GoesOnFromARandomVectorWhereItsSpaceIsClosed) {
  Tensor eigenvalues = at::zeros({40}, at::kDouble);
  eigenvalues.slice(0, 0, 3).fill_(2);
  auto A = rotated_diagonal(eigenvalues, 3);
  RandomStream random(5, "block");
  BlockKrylov krylov(*A, 60, random);
  krylov.start(random.normal({40, 1}, A->domain().options()));
  while (!krylov.exhausted()) ASSERT_TRUE(krylov.extend());
  EXPECT_EQ(krylov.size(), 40);
  Tensor values = ritz_pairs(krylov).values;
  EXPECT_LT(largest(values.slice(0, 37) - 2), 1e-12);
  EXPECT_LT(largest(values.slice(0, 0, 37)), 1e-12);
}

TEST(BlockKrylov, DropsDependentColumnsOfItsStart) {
  auto A = rotated_diagonal(at::linspace(1, 2, 50, at::kDouble), 3);
  RandomStream random(5, "block");
  Tensor x = random.normal({50, 1}, A->domain().options());
  BlockKrylov krylov(*A, 20, random);
  ASSERT_TRUE(krylov.start(at::cat({x, 2 * x, at::zeros_like(x)}, 1)));
  ASSERT_TRUE(krylov.extend());
  EXPECT_EQ(krylov.coupling().size(0), 1);
  EXPECT_FALSE(krylov.start(at::zeros_like(x)));
}

}  // namespace
}  // namespace osculant
