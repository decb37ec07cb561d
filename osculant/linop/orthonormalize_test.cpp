#include "osculant/linop/orthonormalize.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include "osculant/base/random.h"

namespace osculant {
namespace {

double largest(const Tensor& x) {
  return x.abs().max().item<double>();
}

// Q orthonormal and X = Q R, both to `tolerance`.
void expect_factorises(const Tensor& X, int64_t rank, double tolerance) {
  VectorSpace space(X.size(0), X.options());
  auto qr = orthonormalize(space, X);
  ASSERT_EQ(qr.rank, rank);
  Tensor Q = qr.Q.to(at::kDouble);
  ASSERT_EQ(Q.size(1), rank);
  EXPECT_LT(largest(Q.t().mm(Q) - at::eye(rank, at::kDouble)), tolerance);
  EXPECT_LT(largest(Q.mm(qr.R) - X.to(at::kDouble)), tolerance * largest(X));
}

Tensor random_block(int64_t n, int64_t k, uint64_t seed) {
  return RandomStream(seed, "block").normal({k, n}, at::kDouble).t();
}

TEST(Orthonormalize, FactorisesWellAndBadlyConditionedBlocks) {
  auto X = random_block(3000, 12, 1);
  expect_factorises(X, 12, 1e-13);
  expect_factorises(X.to(at::kFloat), 12, 2e-6);
  auto scales = at::logspace(-9, 9, 12, 10, at::kDouble);
  expect_factorises(X * scales, 12, 1e-13);  // columns of unlike size are no trouble
  auto mix = std::get<0>(at::linalg_qr(random_block(12, 12, 2)));
  expect_factorises((X * at::logspace(0, -11, 12, 10, at::kDouble)).mm(mix), 12, 1e-12);
}

TEST(Orthonormalize, LeavesDependentColumnsOut) {
  auto X = random_block(500, 4, 3);
  auto a = X.select(1, 0), b = X.select(1, 1), c = X.select(1, 2);
  auto zero = at::zeros_like(a);
  expect_factorises(at::stack({a, a * 2, b, zero, a - b, c}, 1), 3, 1e-13);
  expect_factorises(at::stack({a, a * 2, b, zero, a - b, c}, 1).to(at::kFloat), 3, 2e-6);
  EXPECT_EQ(orthonormalize({500, zero.options()}, at::stack({zero, zero}, 1)).rank, 0);
}

}  // namespace
}  // namespace osculant
