// Residuals that a recurrence knows, and what two products say of it.
#include "osculant/spectrum/pair_verification.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include "osculant/spectrum/testing.h"

namespace osculant {
namespace {

constexpr int64_t n = 80, k = 5;

struct Pairs {
  OperatorPtr A;
  PairBlock block;  // the top k pairs, AQ off by E
  Tensor E;
};

// E of rank one and of the given Frobenius norm, in no relation to Q.
Pairs off_by(double size, uint64_t seed) {
  Tensor l = at::linspace(10, 1, n, at::kDouble), basis = at::eye(n, at::kDouble);
  RandomStream random(seed, "error");
  Tensor x = random.normal({n}, at::kDouble), y = random.normal({k}, at::kDouble);
  Tensor E = at::outer(x / x.norm(), y / y.norm()) * size;
  Tensor Q = basis.narrow(1, 0, k).t().contiguous().t(), values = l.narrow(0, 0, k).clone();
  return {diagonal_operator(l), {Q, Q * values - E, values, {}}, E};
}

TEST(PairVerification, BoundsWhatTheRecurrenceDoesNotKnow) {
  EigenOptions options{.count = k, .tolerance = 1e-2};
  int covered = 0, tight = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    auto pairs = off_by(1e-5, seed);
    options.seed = seed;
    PairVerification verification(*pairs.A, options);
    auto verified = verification.verify(pairs.block, 10, true);
    ASSERT_TRUE(verified);
    ASSERT_EQ(pairs.A->products(), PairVerification::kProbes);
    covered += verified->deviation >= 1e-5;
    tight += verified->deviation <= 1e-5 * 150;
    Tensor Q = verified->block.Q, R = pairs.A->apply(Q) - Q * verified->block.values;
    EXPECT_TRUE(R.norm(2, {0}).le(verified->error_bounds()).all().item<bool>());
    EXPECT_LE(at::linalg_matrix_norm(R, 2).item<double>(), verified->pairing_bound());
  }
  EXPECT_GE(covered, 199);  // all but one in 1,000
  EXPECT_GE(tight, 190);
}

TEST(PairVerification, MultipliesWhereTheRecurrenceIsFarOff) {
  auto pairs = off_by(0.1, 1);
  EigenOptions options{.count = k, .tolerance = 1e-2};
  auto verified = PairVerification(*pairs.A, options).verify(pairs.block, 10, true);
  ASSERT_TRUE(verified);
  EXPECT_EQ(pairs.A->products(), PairVerification::most_products(k));
  EXPECT_EQ(verified->deviation, 0);
  EXPECT_LT(verified->pairing_bound(), 1e-13);
}

TEST(PairVerification, KeepsTheDeviationWhenPairsAreIncluded) {
  auto pairs = off_by(1e-5, 2);
  EigenOptions options{.count = k, .tolerance = 1e-2};
  PairVerification verification(*pairs.A, options);
  auto verified = verification.verify(pairs.block, 10, true);
  Tensor Y = at::eye(n, at::kDouble).narrow(1, k, 1).t().contiguous().t();
  auto more = verification.include(*verified, Y, 10, k);
  ASSERT_TRUE(more);
  EXPECT_EQ(more->deviation, verified->deviation);
  EXPECT_EQ(pairs.A->products(), PairVerification::kProbes + 1);
  Tensor R = pairs.A->apply(more->block.Q) - more->block.Q * more->block.values;
  EXPECT_LE(at::linalg_matrix_norm(R, 2).item<double>(), more->pairing_bound());
}

}  // namespace
}  // namespace osculant
