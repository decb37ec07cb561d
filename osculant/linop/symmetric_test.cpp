#include "osculant/linop/symmetric.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "osculant/base/random.h"

namespace osculant {
namespace {

Tensor normal(at::IntArrayRef shape, uint64_t seed) {
  return RandomStream(seed, "symmetric").normal(shape, at::kDouble);
}

double relative_difference(const Tensor& a, const Tensor& b) {
  return ((a - b).norm() / b.norm()).item<double>();
}

TEST(SymmetricMatrices, add_products_by_panels) {
  for (int64_t count : {1, 3}) {
    for (int64_t d : {1, 5, 300, 530}) {
      Tensor S = normal({count, d, d}, 81), X = normal({count, 4, d}, 82);
      S = S + S.mT();
      Tensor expected = 0.9 * S + 0.2 * X.mT().matmul(X);
      add_gram(S, X, 0.9, 0.2);
      EXPECT_LT(relative_difference(symmetric_from_lower(S), expected), 1e-14) << d;
    }
  }
}

TEST(SymmetricMatrices, say_when_there_are_no_eigenpairs) {
  Tensor S = normal({2, 4, 4}, 83);
  S = S + S.mT();
  auto found = symmetric_eigenpairs(S);
  ASSERT_TRUE(found);
  EXPECT_LT(relative_difference(found->vectors * found->values.unsqueeze(1), S.matmul(found->vectors)),
            1e-13);
  S[1][2][1] = std::nan("");
  EXPECT_FALSE(symmetric_eigenpairs(S));
}

TEST(SymmetricMatrices, are_shifted_and_inverted) {
  Tensor X = normal({2, 6, 4}, 84), S = X.mT().matmul(X), shift = at::tensor({0.5, 2.0}, at::kDouble);
  auto inverse = shifted_inverse(S, shift);
  ASSERT_TRUE(inverse);
  Tensor shifted = S + shift.view({2, 1, 1}) * at::eye(4, at::kDouble);
  EXPECT_LT(relative_difference(inverse->matmul(shifted), at::eye(4, at::kDouble).expand({2, 4, 4})), 1e-13);
  EXPECT_FALSE(shifted_inverse(-S, shift));
  S[1][2][2] = std::nan("");
  EXPECT_FALSE(shifted_inverse(S, shift));
}

}  // namespace
}  // namespace osculant
