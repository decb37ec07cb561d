#include "osculant/spectrum/alignment.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "osculant/base/error.h"
#include "osculant/spectrum/testing.h"

namespace osculant {
namespace {

using testing::cat;
using testing::rotated_diagonal;

// Against the eigenvectors of the dense matrix, columns from the largest value down.
struct Truth {
  Tensor vectors, cosines;
  Truth(const LinearOperator& A, const Tensor& g) {
    vectors = std::get<1>(at::linalg_eigh(to_dense(A))).flip(1);
    cosines = vectors.t().mv(g).abs() / g.norm();
  }
  double cosine(int64_t i) const { return cosines[i].item<double>(); }
  double share(int64_t k) const { return cosines.slice(0, 0, k).square().sum().item<double>(); }
};

Tensor well_apart(int64_t n) {
  return cat({at::tensor({9., 7., 5., 3., 2.}, at::kDouble), at::linspace(-1, 1, n - 7, at::kDouble),
              at::tensor({-3., -6.}, at::kDouble)});
}

Tensor vector(int64_t n) {
  return RandomStream(3, "g").normal({n}, at::kDouble);
}

TEST(Alignment, IntervalsHoldTheTrueCosinesAndShares) {
  constexpr int64_t n = 400;
  auto A = rotated_diagonal(well_apart(n), 1);
  Tensor g = vector(n) + 20 * to_dense(*A).select(1, 0);
  Truth truth(*A, g);
  for (double tolerance : {3e-2, 1e-3, 1e-8}) {
    auto pairs = eigenpairs(*A, {.count = 4, .target = EigenTarget::both, .tolerance = tolerance});
    Alignment found = align(pairs, g);
    EXPECT_LE(found.miss_probability, 0.2);
    EXPECT_NEAR(found.vector_norm, g.norm().item<double>(), 1e-12 * found.vector_norm);
    ASSERT_EQ(found.largest.cosines.size(), 4u);
    for (int64_t i = 0; i < 4; ++i) {
      const Measured& cosine = found.largest.cosines[i];
      const Measured& share = found.largest.shares[i];
      if (i == 3) {  // what lies inside the last pair is not known
        EXPECT_TRUE(std::isnan(share.low) && std::isnan(share.high));
        continue;
      }
      EXPECT_LE(cosine.low - 1e-13, truth.cosine(i)) << i;
      EXPECT_GE(cosine.high + 1e-13, truth.cosine(i)) << i;
      EXPECT_LE(share.low - 1e-13, truth.share(i + 1)) << i;
      EXPECT_GE(share.high + 1e-13, truth.share(i + 1)) << i;
      EXPECT_LT(share.high - share.low, tolerance < 1e-6 ? 1e-6 : 1);
    }
    EXPECT_NEAR(found.smallest.cosines[0].value, truth.cosine(n - 1), 0.1);
    EXPECT_LE(found.smallest.cosines[0].low - 1e-13, truth.cosine(n - 1));
    EXPECT_GE(found.smallest.cosines[0].high + 1e-13, truth.cosine(n - 1));
  }
}

// The bound is attained by a rotation in a plane: pairs made by turning eigenvectors by a known angle.
TEST(Alignment, IntervalIsTheAngleThatResidualAndGapAllow) {
  constexpr double angle = 1e-2;
  EigenResult pairs;
  pairs.target = EigenTarget::largest;
  pairs.size = 3;
  pairs.stop = EigenStop::exact;
  // diag(2, 1, 0): u turned from e1 towards e2 has the Rayleigh quotient 2 cos^2 + sin^2.
  double c = std::cos(angle), s = std::sin(angle);
  pairs.vectors = at::tensor({c, s, 0., -s, c, 0.}, at::kDouble).view({2, 3}).t();
  pairs.values = at::tensor({2 * c * c + s * s, 2 * s * s + c * c}, at::kDouble);
  pairs.residuals = at::tensor({c * s, c * s}, at::kDouble);
  Tensor g = at::tensor({1., 1., 0.}, at::kDouble);
  Alignment found = align(pairs, g);
  double truth = std::sqrt(0.5);
  EXPECT_LT(found.largest.cosines[0].low, truth);
  EXPECT_GT(found.largest.cosines[0].high, truth);
  EXPECT_NEAR(found.largest.cosines[0].value, std::cos(std::acos(truth) - angle), 1e-12);
  EXPECT_NEAR(found.largest.cosines[0].low, truth, 2e-4);  // asin(residual / gap) is the angle to first order
}

TEST(Alignment, OfEqualEigenvaluesSaysNothingOfEachAndMuchOfAll) {
  constexpr int64_t n = 300;
  Tensor values = at::linspace(-1, 1, n, at::kDouble);
  values.slice(0, 0, 2).fill_(5);
  values[2] = 4;
  auto A = rotated_diagonal(values, 2);
  Tensor g = vector(n);
  auto pairs = eigenpairs(*A, {.count = 3, .target = EigenTarget::largest, .tolerance = 1e-8});
  Alignment found = align(pairs, g);
  EXPECT_TRUE(std::isnan(found.largest.cosines[0].low));
  EXPECT_TRUE(std::isnan(found.largest.shares[0].high));
  EXPECT_NEAR(found.largest.shares[1].value, Truth(*A, g).share(2), 1e-9);
  EXPECT_LT(found.largest.shares[1].high - found.largest.shares[1].low, 1e-5);
  EXPECT_TRUE(found.smallest.cosines.empty());
}

// Lists that hold every eigenvalue, some of them at both ends.
TEST(Alignment, OfAllPairsIsKnownWhole) {
  auto A = rotated_diagonal(at::tensor({4., 1., -2.}, at::kDouble), 3);
  Tensor g = vector(3);
  Truth truth(*A, g);
  for (int64_t count : {2, 5}) {
    Alignment found = align(eigenpairs(*A, {.count = count, .target = EigenTarget::both}), g);
    int64_t listed = std::min<int64_t>(count, 3);
    ASSERT_EQ(static_cast<int64_t>(found.largest.shares.size()), listed);
    ASSERT_EQ(static_cast<int64_t>(found.smallest.shares.size()), listed);
    for (int64_t k = 1; k <= listed; ++k) {
      const Measured &upper = found.largest.shares[k - 1], &lower = found.smallest.shares[k - 1];
      EXPECT_NEAR(upper.value, truth.share(k), 1e-12);
      EXPECT_NEAR(lower.value, 1 - truth.share(3 - k), 1e-12);
      EXPECT_LT(upper.high - upper.low, 1e-6);
      EXPECT_LT(lower.high - lower.low, 1e-6);
    }
    EXPECT_EQ(found.miss_probability, 0);
  }
}

TEST(Alignment, WithoutASearchForMissedPairsIsUnknown) {
  auto A = rotated_diagonal(well_apart(400), 1);
  auto pairs = eigenpairs(*A, {.count = 4, .target = EigenTarget::both, .check_products = 0});
  Alignment found = align(pairs, vector(400));
  EXPECT_EQ(found.miss_probability, 1);
  EXPECT_GT(found.largest.cosines[0].value, 0);
  EXPECT_TRUE(std::isnan(found.largest.cosines[0].low));
}

TEST(Alignment, OfNothingIsUnknown) {
  auto A = rotated_diagonal(well_apart(60), 1);
  auto pairs = eigenpairs(*A, {.count = 2});
  EXPECT_TRUE(std::isnan(align(pairs, at::zeros({60}, at::kDouble)).largest.cosines[0].value));
  EXPECT_THROW(align(pairs, at::zeros({59}, at::kDouble)), Error);
}

TEST(DirectionalCurvature, IsTheRayleighQuotient) {
  auto A = rotated_diagonal(well_apart(50), 1);
  Tensor d = vector(50);
  double expected = (d.dot(to_dense(*A).mv(d)) / d.dot(d)).item<double>();
  auto found = curvature_along(*A, d, 1e-9);
  EXPECT_NEAR(found.value, expected, 1e-13);
  EXPECT_EQ(found.rounding, 1e-9);
  EXPECT_TRUE(std::isnan(curvature_along(*A, at::zeros({50}, at::kDouble), 0).value));
}

}  // namespace
}  // namespace osculant
