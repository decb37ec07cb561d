#pragma once

#include <optional>

#include "osculant/base/random.h"
#include "osculant/spectrum/eigenpairs.h"
#include "osculant/spectrum/ritz.h"

namespace osculant {

// Ritz pairs and what has been measured of them. With Q, AQ and theta of the block, E = A Q - AQ:
//
//   norm(A q_i - theta_i q_i) <= norm(AQ_i - theta_i q_i) + deviation + noise.
struct VerifiedPairs {
  PairBlock block;
  double noise = 0;      // rounding error of a product, absolute
  double deviation = 0;  // bound on norm_F(E) where AQ is the recurrence's; 0 where it was multiplied

  Tensor residuals() const;      // float64 [k]: norm(AQ_i - theta_i q_i)
  Tensor error_bounds() const;   // float64 [k]: an eigenvalue lies within
  double pairing_bound() const;  // statement 1 of EigenResult
  double failure_probability() const;
};

// Measures residuals and rounding of Ritz pairs by products.
//
// A recurrence knows A Q already, up to rounding and to the orthogonality it lets go. Whether it is right
// about it takes two products, with random combinations Q g: norm_F(E) is bounded by norm(E g) except with
// the probability kDeviationProbability (frobenius_bound). Where that bound is not far below the tolerance,
// after a restart, which gives up what AQ would be made of, and for a single pair, A Q is multiplied.
class PairVerification {
 public:
  static constexpr double kDeviationProbability = 1e-3;
  static constexpr int64_t kProbes = 2;

  PairVerification(const LinearOperator& A, const EigenOptions& options);

  // The most products that verify() makes for k pairs.
  static int64_t most_products(int64_t k) { return k + 1 + kProbes; }

  // Pairs as a recurrence has them; `recurrence_knows` where its AQ is to be believed. Nothing where a
  // product was not finite.
  std::optional<VerifiedPairs> verify(const PairBlock& pairs, double scale, bool recurrence_knows);

  // The pairs wanted from the span of those found and Y [n, j], orthonormal to them, whose products are made;
  // also those of the pairs where nobody has looked at them. Nothing where a product was not finite.
  std::optional<VerifiedPairs> include(const VerifiedPairs& found, const Tensor& Y, double scale,
                                       int64_t count);

 private:
  double noise_of(double measured, double scale) const;
  std::optional<VerifiedPairs> by_probes(const PairBlock& pairs, double scale);
  std::optional<VerifiedPairs> by_products(const Tensor& Z, const Tensor& AZ, double deviation, double scale,
                                           int64_t count);

  const LinearOperator& A_;
  const VectorSpace space_;
  const EigenOptions& options_;
  RandomStream random_;
  double measured_ = -1;  // difference of two roundings of one product
};

}  // namespace osculant
