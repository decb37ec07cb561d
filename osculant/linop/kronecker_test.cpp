#include "osculant/linop/kronecker.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "osculant/base/error.h"
#include "osculant/base/random.h"

namespace osculant {
namespace {

Tensor normal(at::IntArrayRef shape, uint64_t seed) {
  return RandomStream(seed, "kronecker").normal(shape, at::kDouble);
}

Tensor positive(int64_t groups, int64_t size, uint64_t seed) {
  Tensor X = normal({groups, size + 1, size}, seed);
  return X.mT().matmul(X);
}

double relative_difference(const Tensor& a, const Tensor& b) {
  return ((a - b).norm() / b.norm()).item<double>();
}

// Block diagonal, one group at a time.
Tensor dense(const BlockDiagonal& B, int64_t group) {
  std::vector<Tensor> parts;
  for (const Tensor& block : B.blocks())
    parts.push_back(is_dense(block) ? block[group] : block[group].diag());
  return at::block_diag(parts);
}

// The matrix of x -> F x from the definition: F e_j by M -> G M A at the places of M's entries in x, which
// are found by what `place.of` makes of 0, 1, 2, ...
Tensor dense(const std::vector<KroneckerBlock>& blocks, int64_t n, double elsewhere = 0) {
  Tensor F = elsewhere * at::eye(n, at::kDouble);
  for (const auto& block : blocks) {
    Tensor index = block.place.of(at::arange(n, at::kDouble)).to(at::kLong);
    for (int64_t g = 0; g < block.place.groups; ++g) {
      // vec of rows: (G M A)_ij = sum G_ik A_lj M_kl
      Tensor K = at::kron(dense(block.outputs, g), dense(block.inputs, g).t().contiguous());
      Tensor at = index[g].reshape({-1});
      F.index_put_({at.unsqueeze(1), at.unsqueeze(0)}, K);
    }
  }
  return F;
}

// A layer with its bias apart, two groups, one stored transposed with a diagonal factor, a blocked one; and
// entries 37 to 39 that lie in none.
constexpr int64_t kSize = 71;
std::vector<KroneckerBlock> blocks() {
  return {{"layer",
           {.offset = 3, .rows = 3, .columns = 5, .last_column = 0},
           BlockDiagonal({positive(1, 3, 1)}),
           BlockDiagonal({positive(1, 5, 2)})},
          {"groups",
           {.offset = 15, .groups = 2, .rows = 2, .columns = 3, .last_column = 27},
           BlockDiagonal({positive(2, 2, 3)}),
           BlockDiagonal({positive(2, 3, 4)})},
          {"embedding",
           {.offset = 40, .rows = 2, .columns = 3, .transposed = true},
           BlockDiagonal({positive(1, 2, 5)}),
           BlockDiagonal({normal({1, 3}, 6).square()})},
          {"blocked",
           {.offset = 46, .rows = 5, .columns = 5},
           BlockDiagonal({positive(1, 3, 7), positive(1, 2, 8)}),
           BlockDiagonal({positive(1, 4, 9), normal({1, 1}, 10).square()})},
          {"units",
           {.offset = 31, .groups = 3, .rows = 1, .columns = 2},
           BlockDiagonal({at::ones({3, 1, 1}, at::kDouble)}),
           BlockDiagonal({positive(3, 2, 11)})}};
}

VectorSpace space() {
  return VectorSpace(kSize, at::kDouble);
}

TEST(MatrixPlace, finds_what_a_layer_keeps_apart) {
  Tensor x = at::arange(12, at::kDouble);
  MatrixPlace place{.offset = 2, .rows = 2, .columns = 4, .last_column = 9};
  Tensor expected = at::tensor({2., 3., 4., 9., 5., 6., 7., 10.}, at::kDouble).view({1, 2, 4});
  EXPECT_TRUE(place.of(x).equal(expected));
  MatrixPlace turned{.offset = 2, .rows = 2, .columns = 3, .transposed = true};
  EXPECT_TRUE(turned.of(x).equal(at::tensor({2., 4., 6., 3., 5., 7.}, at::kDouble).view({1, 2, 3})));
  for (const auto& p : {place, turned}) {
    Tensor y = at::zeros({2, 12}, at::kDouble);
    p.put(p.of(at::stack({x, 2 * x})), y);
    EXPECT_TRUE(p.of(y).equal(p.of(at::stack({x, 2 * x}))));
    EXPECT_EQ(at::count_nonzero(y).item<int64_t>(), 2 * p.size());
  }
}

TEST(KroneckerOperator, equals_its_definition) {
  KroneckerOperator F(space(), blocks());
  Tensor D = dense(blocks(), kSize);
  EXPECT_LT(relative_difference(to_dense(F), D), 1e-14);
  Tensor x = normal({kSize}, 12);
  EXPECT_LT(relative_difference(F.apply(x), D.mv(x)), 1e-14);
  EXPECT_NEAR(F.trace(), D.trace().item<double>(), 1e-12 * F.trace());
  EXPECT_NEAR(F.norm(), D.norm().item<double>(), 1e-12 * F.norm());
  KroneckerOperator shifted(space(), blocks(), 2.5);
  D = dense(blocks(), kSize, 2.5);
  EXPECT_LT(relative_difference(to_dense(shifted), D), 1e-14);
  EXPECT_NEAR(shifted.trace(), D.trace().item<double>(), 1e-12 * shifted.trace());
  EXPECT_NEAR(shifted.norm(), D.norm().item<double>(), 1e-12 * shifted.norm());
}

TEST(KroneckerOperator, refuses_places_that_overlap_and_factors_that_do_not_fit) {
  auto overlapping = blocks();
  overlapping[1].place.last_column = 17;
  EXPECT_THROW(KroneckerOperator(space(), overlapping), Error);
  auto beyond = blocks();
  beyond[3].place.offset = kSize - 24;
  EXPECT_THROW(KroneckerOperator(space(), beyond), Error);
  auto misfit = blocks();
  misfit[0].inputs = BlockDiagonal({positive(1, 4, 2)});
  EXPECT_THROW(KroneckerOperator(space(), misfit), Error);
}

// (A + pi sqrt(lambda) I) (x) (G + sqrt(lambda) / pi I) of each group, inverted by LU.
TEST(KroneckerOperator, inverts_with_damping_spread_over_its_factors) {
  double lambda = 0.3;
  auto damped = blocks();
  for (auto& block : damped) {
    std::vector<Tensor> A, G;
    for (int64_t g = 0; g < block.place.groups; ++g) {
      Tensor a = dense(block.inputs, g), s = dense(block.outputs, g);
      double pi = std::sqrt((a.trace() / a.size(0)).item<double>() / (s.trace() / s.size(0)).item<double>());
      A.push_back((a + pi * std::sqrt(lambda) * at::eye(a.size(0), at::kDouble)).inverse());
      G.push_back((s + std::sqrt(lambda) / pi * at::eye(s.size(0), at::kDouble)).inverse());
    }
    block.inputs = BlockDiagonal({at::stack(A)});
    block.outputs = BlockDiagonal({at::stack(G)});
  }
  auto inverse = factored_inverse(KroneckerOperator(space(), blocks()), lambda);
  ASSERT_TRUE(inverse);
  EXPECT_LT(relative_difference(to_dense(*inverse), dense(damped, kSize, 1 / lambda)), 1e-12);
}

TEST(KroneckerOperator, has_no_inverse_where_a_factor_has_none) {
  auto broken = blocks();
  broken[0].inputs = BlockDiagonal({-100 * positive(1, 5, 2)});
  EXPECT_FALSE(factored_inverse(KroneckerOperator(space(), broken), 0.1));
  broken = blocks();
  broken[2].inputs = BlockDiagonal({at::full({1, 3}, std::nan(""), at::kDouble)});
  EXPECT_FALSE(factored_inverse(KroneckerOperator(space(), broken), 0.1));
}

TEST(KroneckerEigen, is_whatever_function_of_the_matrix) {
  KroneckerOperator F(space(), blocks());
  auto E = eigen_decomposition(F);
  ASSERT_TRUE(E);
  Tensor D = dense(blocks(), kSize), I = at::eye(kSize, at::kDouble);
  EXPECT_LT(relative_difference(to_dense(*E), D), 1e-13);
  EXPECT_NEAR(E->trace(), D.trace().item<double>(), 1e-12 * E->trace());
  EXPECT_NEAR(E->norm(), D.norm().item<double>(), 1e-12 * E->norm());
  for (double lambda : {1e-2, 3.0}) {
    Tensor damped = D + lambda * I;
    EXPECT_LT(relative_difference(to_dense(*E->inverse(lambda)).mm(damped), I), 1e-11);
    Tensor root = to_dense(*E->inverse_root(lambda));
    EXPECT_LT(relative_difference(root.mm(root).mm(damped), I), 1e-11);
    EXPECT_NEAR(E->log_determinant(lambda), at::logdet(damped).item<double>(), 1e-10);
  }
}

// F + 1e-3 E: the step's error in the invariant subspaces is of second order, and eigenvalues that were given
// go with their columns.
TEST(KroneckerEigen, follows_a_matrix_that_moves) {
  Tensor Q = std::get<0>(at::linalg_qr(normal({1, 4, 4}, 21)));
  auto factor = [&](std::vector<double> values) {
    Tensor l = at::tensor(values, at::kDouble);
    return BlockDiagonal({(Q * l).matmul(Q.mT())});
  };
  KroneckerBlock block{"layer", {.rows = 4, .columns = 4}, factor({8, 4, 2, 1}), factor({1, 3, 9, 27})};
  auto first = eigen_block(block);
  ASSERT_TRUE(first);
  first->values = at::arange(16, at::kDouble).view({1, 4, 4});
  // The first two eigenvalues of A change places.
  block.inputs = factor({1, 3, 30, 27});
  block.outputs = BlockDiagonal({block.outputs.blocks()[0] + 1e-3 * positive(1, 4, 22)});
  auto next = refreshed(*first, block);
  ASSERT_TRUE(next);
  Tensor swapped = first->values.index_select(2, at::tensor({1, 0, 2, 3}));
  EXPECT_TRUE(next->values.equal(swapped));
  for (auto [Q, S] : {std::pair{&next->outputs, &block.outputs}, {&next->inputs, &block.inputs}}) {
    Tensor V = Q->blocks()[0][0], rotated = V.t().mm(S->blocks()[0][0]).mm(V);
    EXPECT_LT(relative_difference(V.t().mm(V), at::eye(4, at::kDouble)), 1e-14);
    Tensor exact = at::linalg_eigvalsh(S->blocks()[0][0]).flip({0});
    EXPECT_LT(relative_difference(rotated.diagonal(), exact), 1e-5);
    EXPECT_LT((rotated - rotated.diagonal().diag()).norm().item<double>(), 5e-3);
  }
}

}  // namespace
}  // namespace osculant
