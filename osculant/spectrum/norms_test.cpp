#include "osculant/spectrum/norms.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "osculant/base/error.h"
#include "osculant/spectrum/testing.h"

namespace osculant {
namespace {

using testing::cat;
using testing::rotated_diagonal;

TEST(FrobeniusNorm, OfLowRankNeedsThePairs) {
  Tensor l = cat({at::tensor({7., -2.}, at::kDouble), at::full({198}, 0.01, at::kDouble)});
  auto A = rotated_diagonal(l, 1);
  auto pairs =
      eigenpairs(*A, {.count = 2, .target = EigenTarget::dominant, .tolerance = 1e-6, .dense_limit = 0});
  auto norm = frobenius_norm(*A, {}, &pairs);
  double truth = l.norm().item<double>();
  EXPECT_LE(norm.low, truth);
  EXPECT_GE(norm.high, truth);
  EXPECT_LT(norm.high - norm.low, 1e-3 * truth);
}

TEST(FrobeniusNorm, IsExactFromAllColumnsAndUnknownFromNone) {
  Tensor M = RandomStream(1, "matrix").normal({12, 12}, at::kDouble);
  auto norm = frobenius_norm(*dense_operator(M));
  EXPECT_TRUE(norm.exact());
  EXPECT_NEAR(norm.value, M.norm().item<double>(), 1e-13);
  EXPECT_EQ(frobenius_norm(*diagonal_operator(at::zeros({90}, at::kDouble))).high, 0);
  EXPECT_TRUE(std::isnan(frobenius_norm(*diagonal_operator(at::full({90}, NAN, at::kDouble))).value));
  EXPECT_THROW(frobenius_norm(*dense_operator(at::ones({3, 2}, at::kDouble))), Error);
}

TEST(Diagonal, HasStandardErrorsThatHold) {
  Tensor M = RandomStream(2, "matrix").normal({200, 200}, at::kDouble);
  M = M + M.t();
  auto A = dense_operator(M, true);
  auto estimate = diagonal(*A, {.probes = 100});
  EXPECT_EQ(A->products(), 100);
  Tensor z = (estimate.value - M.diagonal()) / estimate.standard_error;
  EXPECT_NEAR(z.square().mean().item<double>(), 1, 0.35);
  auto exact = diagonal(*A, {.probes = 200});
  EXPECT_TRUE(at::allclose(exact.value, M.diagonal()));
  EXPECT_EQ(exact.standard_error.abs().max().item<double>(), 0);
}

}  // namespace
}  // namespace osculant
