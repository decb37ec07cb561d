// Eigenpairs from a block: of multiple eigenvalues, and from those at nearby parameters.
#include <gtest/gtest.h>
#include <torch/types.h>
#include <unistd.h>

#include <filesystem>

#include "osculant/base/error.h"
#include "osculant/spectrum/eigen_file.h"
#include "osculant/spectrum/eigenpairs.h"
#include "osculant/spectrum/testing.h"

namespace osculant {
namespace {

using testing::cat;
using testing::largest;
using testing::rotated_diagonal;

// Ten outliers at one end, three at the other, above a bulk, as Hessians of classifiers have them.
Tensor hessian_like(int64_t n) {
  return cat({at::linspace(3, 12, 10, at::kDouble), at::linspace(-2, -1, 3, at::kDouble),
              RandomStream(7, "bulk").normal({n - 13}, at::kDouble) * 0.02});
}

// The same spectrum in a basis turned by about `angle`.
struct Moving {
  Tensor S;
  Moving(int64_t n, double angle) {
    Tensor M = rotated_diagonal(hessian_like(n), 1)->apply(at::eye(n, at::kDouble));
    RandomStream random(3, "turn");
    Tensor B = random.normal({n, 6}, at::kDouble) / std::sqrt(static_cast<double>(n));
    Tensor K = B.slice(1, 0, 3).mm(B.slice(1, 3).t());
    Tensor Q = at::linalg_matrix_exp((K - K.t()) * angle);
    S = Q.mm(M).mm(Q.t());
  }
  OperatorPtr in(at::ScalarType dtype) const {
    Tensor A = S.to(dtype);
    return function_operator(
        {A.size(0), at::TensorOptions(dtype)}, [A](const Tensor& X) { return A.mm(X); }, "moving");
  }
};

class EigenStart : public ::testing::TestWithParam<at::ScalarType> {};

TEST_P(EigenStart, FollowingASpectrumCostsAFewProductsAPair) {
  constexpr int64_t n = 700;
  EigenOptions options{.count = 10, .target = EigenTarget::largest, .check_products = 0};
  EigenResult before = eigenpairs(*Moving(n, 0).in(GetParam()), options);
  Moving moved(n, 0.02);
  auto A = moved.in(GetParam());
  EigenResult cold = eigenpairs(*A, options);
  options.start = before.vectors;
  EigenResult warm = eigenpairs(*A, options);
  ASSERT_TRUE(warm.converged()) << warm.message;
  EXPECT_LE(warm.products, 10 + 10 + 11) << "two a pair, and one each to verify";
  EXPECT_LT(warm.products, cold.products);
  Tensor truth = at::linspace(12, 3, 10, at::kDouble);
  EXPECT_LE(largest(warm.values - truth), warm.pairing_bound);
  EXPECT_LE(warm.pairing_bound, 5e-3 * 12);
  EXPECT_EQ(warm.extreme_failure_probability, 1) << "a start that was not drawn at random proves nothing";
}

TEST_P(EigenStart, WhatTheStartDoesNotHoldTheSearchFinds) {
  // The start lacks the largest eigenvector altogether.
  Tensor eigenvalues = hessian_like(600);
  auto A = rotated_diagonal(eigenvalues, 1, GetParam());
  EigenOptions options{.count = 5, .target = EigenTarget::largest};
  EigenResult all = eigenpairs(*A, options);
  options.start = all.vectors.narrow(1, 1, 4);
  EigenResult result = eigenpairs(*A, options);
  ASSERT_TRUE(result.converged()) << result.message;
  EXPECT_LE(largest(result.values - at::linspace(12, 8, 5, at::kDouble)), result.pairing_bound);
  EXPECT_TRUE(result.checked);
  EXPECT_LE(result.extreme_failure_probability, 0.01);
}

TEST_P(EigenStart, ABlockFindsMultipleEigenvalues) {
  Tensor eigenvalues = cat({at::full({4}, 9, at::kDouble), at::full({2}, 7, at::kDouble),
                            RandomStream(7, "bulk").normal({394}, at::kDouble) * 0.02});
  auto A = rotated_diagonal(eigenvalues, 1, GetParam());
  EigenOptions options{.count = 6, .target = EigenTarget::largest, .check_products = 0};
  EigenResult one = eigenpairs(*A, options);
  EXPECT_LT(one.values.gt(6).sum().item<int64_t>(), 6) << "beyond one of each a single vector sees rounding";
  options.block = 4;
  EigenResult four = eigenpairs(*A, options);
  EXPECT_LE(largest(four.values - at::tensor({9., 9., 9., 9., 7., 7.}, at::kDouble)), four.pairing_bound);
}

TEST_P(EigenStart, PairsComeBackFromTheirFile) {
  auto A = rotated_diagonal(hessian_like(400), 1, GetParam());
  EigenResult pairs = eigenpairs(*A, {.count = 3, .target = EigenTarget::both});
  std::string path =
      (std::filesystem::temp_directory_path() / ("eigen-" + std::to_string(getpid()))).string();
  save_eigenpairs(pairs, path);
  EigenResult back = load_eigenpairs(path);
  std::filesystem::remove(path);
  EXPECT_TRUE(at::equal(back.vectors, pairs.vectors));
  EXPECT_TRUE(at::equal(back.values, pairs.values));
  EXPECT_EQ(back.report(), pairs.report());
  EXPECT_EQ(back.noise, pairs.noise);
  // From the very pairs, nothing is left to do but to see it.
  EigenResult again =
      eigenpairs(*A, {.count = 3, .target = EigenTarget::both, .start = back.vectors, .check_products = 0});
  EXPECT_LE(again.products, 6 + 7);
  EXPECT_TRUE(again.converged());
}

INSTANTIATE_TEST_SUITE_P(Dtypes, EigenStart, ::testing::Values(at::kFloat, at::kDouble));

TEST(EigenStart, RefusesABlockOfAnotherSize) {
  auto A = rotated_diagonal(at::linspace(0, 1, 300, at::kDouble), 1);
  EXPECT_THROW(eigenpairs(*A, {.start = at::zeros({299, 2}, at::kDouble)}), Error);
  EXPECT_THROW(eigenpairs(*A, {.block = 0}), Error);
}

}  // namespace
}  // namespace osculant
