#include "osculant/spectrum/sparsity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "osculant/base/error.h"
#include "osculant/base/random.h"
#include "osculant/linop/operators.h"

namespace osculant {
namespace {

constexpr int64_t kSize = 90;

std::vector<LayerBlock> thirds() {
  return {{"a", 0, 30}, {"b", 30, 20}, {"c", 50, 40}};
}

// Symmetric and random; the blocks of layers `apart` or more are `weak` as large.
Tensor layered(int64_t apart, double weak, uint64_t seed = 1) {
  Tensor M = RandomStream(seed, "matrix").normal({kSize, kSize}, at::kDouble);
  M = M + M.t();
  auto blocks = thirds();
  for (int64_t a = 0; a < 3; ++a)
    for (int64_t b = 0; b < 3; ++b)
      if (std::abs(a - b) >= apart)
        M.narrow(0, blocks[a].offset, blocks[a].size).narrow(1, blocks[b].offset, blocks[b].size).mul_(weak);
  return M;
}

Tensor block(const Tensor& M, const LayerBlock& a, const LayerBlock& b) {
  return M.narrow(0, a.offset, a.size).narrow(1, b.offset, b.size);
}

double norm_of(const Tensor& M) {
  return M.norm().item<double>();
}

// What is left of M without the blocks of layers at most w apart, relative to norm_F.
double left_out(const Tensor& M, int64_t w) {
  double squares = 0;
  auto blocks = thirds();
  for (int64_t a = 0; a < 3; ++a)
    for (int64_t b = 0; b < 3; ++b)
      if (std::abs(a - b) > w) squares += std::pow(norm_of(block(M, blocks[a], blocks[b])), 2);
  return std::sqrt(squares) / norm_of(M);
}

bool holds(const Measured& x, double truth, double slack = 1e-9) {
  return x.low - slack <= truth && truth <= x.high + slack;
}

SparsityResult by_products(const Tensor& M, SparsityOptions options = {}) {
  options.dense_limit = 0;
  return sparsity(*dense_operator(M, true), thirds(), options);
}

TEST(Sparsity, OfASmallMatrixIsExact) {
  Tensor M = layered(2, 0.01);
  M.select(0, 3).mul_(1e-6);
  M.select(1, 3).mul_(1e-6);
  auto A = dense_operator(M, true);
  auto result = sparsity(*A, thirds());
  EXPECT_TRUE(result.exact);
  EXPECT_EQ(result.products, kSize);
  EXPECT_EQ(sparsity_products(thirds(), {}), kSize);
  auto blocks = thirds();
  for (size_t a = 0; a < 3; ++a)
    for (size_t b = 0; b < 3; ++b) {
      EXPECT_TRUE(result.norms[a][b].exact());
      EXPECT_NEAR(result.norms[a][b].value, norm_of(block(M, blocks[a], blocks[b])), 1e-10);
    }
  for (int64_t w = 0; w < 3; ++w) EXPECT_NEAR(result.beyond[w].value, left_out(M, w), 1e-12);
  EXPECT_NEAR(result.frobenius.value, norm_of(M), 1e-10);
  Tensor off = M.clone();
  off.fill_diagonal_(0);
  EXPECT_NEAR(result.off_diagonal.value, norm_of(off) / norm_of(M), 1e-12);
  double largest = M.diagonal().abs().max().item<double>();
  EXPECT_EQ(result.scale, largest);
  EXPECT_GE(result.largest_high, result.scale);
  EXPECT_EQ(result.negligible.value, M.abs().le(1e-3 * largest).to(at::kDouble).mean().item<double>());
  EXPECT_TRUE(result.negligible.exact());
  EXPECT_EQ(result.structure, Structure::band);
  EXPECT_EQ(result.width, 1);
}

// The interval of a block's norm, those of what lies outside the layers' own blocks, off the diagonal, and
// the share of negligible entries.
TEST(Sparsity, IntervalsCoverAsOftenAsTheySay) {
  Tensor M = layered(1, 0.3);
  Tensor columns = RandomStream(2, "few").uniform({kSize}, at::kDouble).lt(0.2).to(at::kDouble);
  Tensor few = at::outer(columns, columns);  // 80 % of the columns are empty
  M = M * (few + (1 - few) * 1e-5);
  auto blocks = thirds();
  Tensor off = M.clone();
  off.fill_diagonal_(0);
  int within = 0, between = 0, outside = 0, diagonal = 0, entries = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    auto result = by_products(M, {.norm_products = 36, .columns = 30, .seed = seed});
    ASSERT_FALSE(result.exact);
    within += holds(result.norms[2][2], norm_of(block(M, blocks[2], blocks[2])));
    between += holds(result.norms[0][2], norm_of(block(M, blocks[0], blocks[2])));
    outside += holds(result.beyond[0], left_out(M, 0));
    diagonal += holds(result.off_diagonal, norm_of(off) / norm_of(M));
    Tensor small = M.abs().le(1e-3 * result.scale).to(at::kDouble);
    entries += holds(result.negligible, small.mean().item<double>());
  }
  for (int covered : {within, between}) {
    EXPECT_GE(covered, 180);
    EXPECT_LE(covered, 198);
  }
  for (int covered : {outside, diagonal, entries}) EXPECT_GE(covered, 186);
}

TEST(Sparsity, NamesTheStructure) {
  for (int64_t limit : {0, 500}) {
    SparsityOptions options{.norm_products = 87, .dense_limit = limit};  // 29 in each layer
    auto of = [&](const Tensor& M) { return sparsity(*dense_operator(M, true), thirds(), options); };
    auto diagonal = of(layered(1, 0) * at::eye(kSize, at::kDouble));
    EXPECT_EQ(diagonal.structure, Structure::diagonal) << diagonal.words;
    EXPECT_NEAR(diagonal.off_diagonal.high, 0, 1e-7);
    EXPECT_EQ(of(layered(1, 0.01)).structure, Structure::block_diagonal);
    auto band = of(layered(2, 0.01));
    EXPECT_EQ(band.structure, Structure::band);
    EXPECT_EQ(band.width, 1);
    EXPECT_EQ(of(layered(1, 1)).structure, Structure::dense);
    EXPECT_EQ(of(at::zeros({kSize, kSize}, at::kDouble)).structure, Structure::diagonal);
  }
  // What is left out is a tenth of the norm to within what few probes show.
  Tensor close = layered(1, 0.1);
  close = close / norm_of(close);
  double outside = left_out(close, 0);
  auto undecided = by_products(close, {.norm_products = 12, .tolerance = outside * 1.02});
  EXPECT_EQ(undecided.structure, Structure::unknown);
  EXPECT_THAT(undecided.words, ::testing::StartsWith("unknown, from block diagonal"));
  EXPECT_EQ(sparsity(*dense_operator(close, true), thirds(), {.tolerance = outside * 1.02}).structure,
            Structure::block_diagonal);
  auto one = sparsity(*dense_operator(close, true), {{"all", 0, kSize}});
  EXPECT_EQ(one.structure, Structure::dense);
}

// rank one and positive semidefinite: its largest entry is on the diagonal, and far below norm_2.
TEST(Sparsity, ScaleIsTheLargestDiagonalEntry) {
  Tensor v = RandomStream(3, "v").normal({kSize}, at::kDouble);
  v[70] = 4;
  auto result = by_products(at::outer(v, v));
  EXPECT_NEAR(result.scale, 16, 1e-9);
  EXPECT_GE(result.largest_high, 16);
  EXPECT_NEAR(result.largest_high, v.square().sum().item<double>(), 1);
  // Nothing on the diagonal: norm_2 / n.
  Tensor M = at::zeros({kSize, kSize}, at::kDouble);
  M[0][89] = M[89][0] = 9;
  auto saddle = by_products(M);
  EXPECT_NEAR(saddle.scale, 0.1, 1e-3);
  EXPECT_GE(saddle.largest_high, 9);
}

TEST(Sparsity, CountsItsWork) {
  auto A = dense_operator(layered(1, 0.5), true);
  auto pairs = eigenpairs(*A, {.count = 3, .target = EigenTarget::both});
  SparsityOptions options{.norm_products = 70, .columns = 11, .dense_limit = 0};
  auto result = sparsity(*A, thirds(), options, &pairs);
  EXPECT_EQ(result.products, 20 + 2 * 25 + 8 + 11) << "all of layer b, and 25 probes in a and c";
  EXPECT_EQ(result.products, sparsity_products(thirds(), options));
  EXPECT_TRUE(result.norms[1][2].exact());
  EXPECT_FALSE(result.norms[0][2].exact());
  EXPECT_EQ(result.norms[0][2].value, result.norms[2][0].value);
  options.norm_products = kSize;
  EXPECT_TRUE(sparsity(*A, thirds(), options, &pairs).norms[2][2].exact());
  EXPECT_EQ(least_norm_products({{"a", 0, 3}, {"b", 3, 10}}), 7);
}

TEST(Sparsity, NormsOfLayersAloneAreThoseOfTheTable) {
  Tensor M = layered(1, 0.3);
  auto A = dense_operator(M, true);
  SparsityOptions options{.norm_products = 70, .dense_limit = 0, .seed = 5};
  auto norms = diagonal_block_norms(*A, thirds(), options);
  EXPECT_EQ(A->products(), block_norm_products(thirds(), options));
  auto table = sparsity(*A, thirds(), options).norms;
  ASSERT_EQ(norms.size(), 3u);
  for (size_t b = 0; b < 3; ++b) {
    EXPECT_EQ(norms[b].low, table[b][b].low);
    EXPECT_EQ(norms[b].high, table[b][b].high);
  }
  EXPECT_TRUE(
      diagonal_block_norms(*diagonal_operator(at::full({kSize}, NAN, at::kDouble)), thirds()).empty());
}

TEST(Sparsity, SaysWhatItDoesNotKnow) {
  auto broken = sparsity(*diagonal_operator(at::full({kSize}, NAN, at::kDouble)), thirds());
  EXPECT_EQ(broken.structure, Structure::unknown);
  EXPECT_THAT(broken.report(), ::testing::HasSubstr("not finite"));
  auto stopped = by_products(layered(1, 1), {.progress = [](int64_t products) { return products < 20; }});
  EXPECT_TRUE(std::isnan(stopped.negligible.value));
  EXPECT_EQ(stopped.negligible.high, 1);
  EXPECT_LT(stopped.products, 40);
  EXPECT_THROW(by_products(layered(1, 1), {.norm_products = 11}), Error);
  EXPECT_THROW(sparsity(*diagonal_operator(at::ones({4}, at::kDouble)), thirds()), Error);
  EXPECT_THROW(sparsity(*dense_operator(at::ones({4, 4})), {{"a", 0, 4}}), Error);
}

}  // namespace
}  // namespace osculant
