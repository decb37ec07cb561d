#include "osculant/spectrum/pair_verification.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "osculant/spectrum/certificate.h"

namespace osculant {

Tensor VerifiedPairs::residuals() const {
  return block.residual_gram.diagonal().clamp_min(0).sqrt();
}

Tensor VerifiedPairs::error_bounds() const {
  return residuals() + (noise + deviation);
}

// k orthonormal vectors with residual block R pair one to one with k eigenvalues, each within norm_2(R)
// (Kahan 1967; Parlett 1998, ch. 11).
double VerifiedPairs::pairing_bound() const {
  return block_norm(block.residual_gram) + std::sqrt(static_cast<double>(block.values.numel())) * noise +
         deviation;
}

double VerifiedPairs::failure_probability() const {
  return deviation > 0 ? PairVerification::kDeviationProbability : 0;
}

PairVerification::PairVerification(const LinearOperator& A, const EigenOptions& options)
    : A_(A), space_(A.domain()), options_(options), random_(options.seed, "pair verification") {}

double PairVerification::noise_of(double measured, double scale) const {
  return std::max({2 * measured, options_.noise_floor * scale, 4 * space_.epsilon() * scale});
}

std::optional<VerifiedPairs> PairVerification::verify(const PairBlock& pairs, double scale,
                                                      bool recurrence_knows) {
  double most = 0.1 * options_.tolerance;
  if (recurrence_knows && pairs.values.numel() > 1 && 100 * space_.epsilon() <= most) {
    auto probed = by_probes(pairs, scale);
    if (!probed || probed->deviation <= most * scale) return probed;
  }
  measured_ = -1;
  Tensor AQ = apply_by_blocks(A_, pairs.Q);
  if (!space_.all_finite(AQ)) return std::nullopt;
  return by_products(pairs.Q, AQ, 0, scale, pairs.values.numel());
}

std::optional<VerifiedPairs> PairVerification::by_probes(const PairBlock& pairs, double scale) {
  Tensor G = random_.normal({pairs.values.numel(), kProbes}, at::kDouble), g = G.to(space_.options());
  Tensor AQg = A_.apply(pairs.Q.mm(g));
  if (!space_.all_finite(AQg)) return std::nullopt;
  Tensor E = AQg - pairs.AQ.mm(g);
  Tensor squares = space_.gram(E, E).diagonal();
  measured_ = (squares.sqrt() / G.norm(2, {0})).max().item<double>();
  VerifiedPairs verified;
  verified.deviation = frobenius_bound(squares.sum().item<double>(), kProbes, kDeviationProbability);
  verified.noise = noise_of(measured_, scale);
  int64_t count = pairs.values.numel() / (options_.target == EigenTarget::both ? 2 : 1);
  verified.block = rayleigh_ritz(space_, pairs.Q, pairs.AQ, options_.target, count);
  return verified;
}

// Rayleigh-Ritz on Z, and, the first time, norm(A y - (A Q) c) for y = Q c of norm 1: two roundings of one
// product, in which every wanted pair has part.
std::optional<VerifiedPairs> PairVerification::by_products(const Tensor& Z, const Tensor& AZ,
                                                           double deviation, double scale, int64_t count) {
  VerifiedPairs verified;
  verified.block = rayleigh_ritz(space_, Z, AZ, options_.target, count);
  const PairBlock& block = verified.block;
  if (measured_ < 0) {
    int64_t k = block.Q.size(1);
    Tensor c = at::full({k}, 1 / std::sqrt(static_cast<double>(k)), space_.options());
    measured_ = space_.norm(A_.apply(block.Q.mv(c)) - block.AQ.mv(c));
  }
  scale = std::max(scale, block.values.abs().max().item<double>());
  verified.noise = noise_of(measured_, scale);
  verified.deviation = deviation;
  return verified;
}

std::optional<VerifiedPairs> PairVerification::include(const VerifiedPairs& found, const Tensor& Y,
                                                       double scale, int64_t count) {
  const PairBlock& block = found.block;
  Tensor AQ = block.AQ.defined() ? block.AQ : apply_by_blocks(A_, block.Q);
  // Stored by columns: concatenate rows.
  Tensor Z = at::cat({block.Q.t(), Y.t()}).t(), AZ = at::cat({AQ.t(), apply_by_blocks(A_, Y).t()}).t();
  if (!space_.all_finite(AZ)) return std::nullopt;
  return by_products(Z, AZ, found.deviation, scale, count);
}

}  // namespace osculant
