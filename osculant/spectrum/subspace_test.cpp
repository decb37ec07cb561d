#include "osculant/spectrum/subspace.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>

#include "osculant/base/error.h"
#include "osculant/spectrum/testing.h"

namespace osculant {
namespace {

using testing::largest;
using testing::rotated_diagonal;

Tensor start_block(int64_t n, int64_t k) {
  return RandomStream(1, "start").normal({k, n}, at::kDouble).t();
}

TEST(RefreshSubspace, GivesRitzPairsWithTheirResidualsAtOneProductAColumn) {
  auto A = rotated_diagonal(at::linspace(-1, 1, 80, at::kDouble), 2);
  Tensor start = start_block(80, 5);
  auto pairs = refresh_subspace(*A, start);
  EXPECT_EQ(pairs.products, 5);
  EXPECT_EQ(A->products(), 5);
  Tensor V = pairs.vectors, M = to_dense(*A);
  EXPECT_LT(largest(V.t().mm(V) - at::eye(5, at::kDouble)), 1e-14);
  EXPECT_LT(largest(V.t().mm(M).mm(V) - at::diag(pairs.values)), 1e-14);
  EXPECT_LT(largest((M.mm(V) - V * pairs.values).norm(2, {0}) - pairs.residuals), 1e-13);
  EXPECT_LT(largest(V.mm(V.t().mm(start)) - start), 1e-13) << "the span is that of the start";
  Tensor range = pairs.next.mm(pairs.next.t().mm(M.mm(start)));
  EXPECT_LT(largest(range - M.mm(start)), 1e-13) << "next spans A start";
  EXPECT_TRUE(pairs.values.abs().diff().le(1e-14).all().item<bool>());
}

TEST(RefreshSubspace, TurnsTowardsTheDominantPairsAtTheRateOfTheGap) {
  // abs(l_6 / l_5) = 1/2, so 20 steps gain 1e-6 in the vectors and 1e-12 in the values.
  Tensor eigenvalues =
      testing::cat({at::tensor({8., -7., 6., -5., 4.}, at::kDouble), at::linspace(-2, 2, 95, at::kDouble)});
  auto A = rotated_diagonal(eigenvalues, 3);
  Tensor block = start_block(100, 5);
  RitzSubspace pairs;
  for (int step = 0; step < 24; ++step) {
    pairs = refresh_subspace(*A, block);
    block = pairs.next;
  }
  EXPECT_LT(largest(pairs.values - eigenvalues.slice(0, 0, 5)), 1e-9);
  EXPECT_LT(largest(pairs.residuals), 1e-4);
}

TEST(RefreshSubspace, FollowsAnOperatorThatMoves) {
  auto A_at = [](double t) {
    Tensor d = testing::cat({at::tensor({10., 9., 8.}, at::kDouble), at::linspace(0, 1, 57, at::kDouble)});
    Tensor u = RandomStream(4, "direction").normal({60}, at::kDouble) / 60;
    Tensor M = at::diag(d) + t * at::outer(u, u) * 60;
    return dense_operator(M, true);
  };
  Tensor block = start_block(60, 3);
  for (int step = 0; step < 40; ++step) block = refresh_subspace(*A_at(0.1 * step), block).next;
  auto last = A_at(4);
  Tensor exact = std::get<0>(at::linalg_eigvalsh(to_dense(*last)).sort(0, true)).slice(0, 0, 3);
  EXPECT_LT(largest(refresh_subspace(*last, block).values - exact), 1e-3);
}

TEST(RefreshSubspace, BearsDependentStartsSingularAndBrokenOperators) {
  Tensor start = start_block(40, 3);
  auto dependent = refresh_subspace(*diagonal_operator(at::arange(40, at::kDouble)),
                                    testing::cat({start.t(), start.t().narrow(0, 0, 1)}).t());
  EXPECT_EQ(dependent.values.numel(), 3);
  auto zero = refresh_subspace(*diagonal_operator(at::zeros({40}, at::kDouble)), start);
  EXPECT_EQ(largest(zero.values), 0);
  EXPECT_LT(largest(zero.next.t().mm(zero.next) - at::eye(3, at::kDouble)), 1e-14);
  auto broken = refresh_subspace(
      *diagonal_operator(at::full({40}, std::numeric_limits<double>::infinity(), at::kDouble)), start);
  EXPECT_FALSE(broken.finite);
  EXPECT_TRUE(broken.next.isfinite().all().item<bool>());
  EXPECT_THROW(
      refresh_subspace(*diagonal_operator(at::zeros({40}, at::kDouble)), at::ones({39, 2}, at::kDouble)),
      Error);
}

}  // namespace
}  // namespace osculant
