#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "osculant/objective/regularizer.h"

namespace osculant {

// Penalties on the gradient g and on a curvature matrix B of an objective's data terms, as members of the
// objective: in its value, its gradient and its Hessian products, on a mini-batch as on all data
// (docs/regularizers.md). g and B are those of the parameters that `parameters`, a glob, names: B is the
// principal submatrix. Methods built on the Gauss-Newton matrix see a penalty through value and gradient
// alone.
//
// What a penalty draws (probes, columns) or carries along (v, V) is frozen while a step is made, and goes on
// from step to step, the same for the same seed. Outside of training Objective::advanced does that.
enum class PenaltyMatrix { hessian, gauss_newton };

struct GradientPenaltyOptions {
  double strength = 0.01;
  std::string parameters = "*";
  void check() const;
};

struct GradientLowRankOptions {
  double strength = 0.01;
  std::string parameters = "*";
  int64_t rank = 1;  // k: so many singular values of each gradient matrix are left alone
  void check() const;
};

struct ProbePenaltyOptions {
  double strength = 0.01;
  std::string parameters = "*";
  PenaltyMatrix matrix = PenaltyMatrix::hessian;
  int64_t probes = 1;  // random signs, fresh ones each step; the mean over them has no bias
  uint64_t seed = 0;
  void check() const;
};

struct SpectralPenaltyOptions {
  double strength = 0.01;
  std::string parameters = "*";
  PenaltyMatrix matrix = PenaltyMatrix::hessian;
  int64_t iterations = 1;  // of the power method each step, from the last step's v; the first step makes 20
  uint64_t seed = 0;
  void check() const;
};

struct TailEnergyOptions {
  double strength = 0.01;
  std::string parameters = "*";
  PenaltyMatrix matrix = PenaltyMatrix::hessian;
  int64_t rank = 1;     // k, columns of V
  int64_t probes = 1;   // random signs z, fresh ones each step
  int64_t refresh = 1;  // steps between refreshes of V, one step of subspace iteration each; the first is 5
  uint64_t seed = 0;
  void check() const;
};

struct ColumnSparsityOptions {
  double strength = 0.01;
  std::string parameters = "*";
  PenaltyMatrix matrix = PenaltyMatrix::hessian;
  int64_t columns = 1;  // drawn afresh each step, with replacement
  double width = 1e-3;  // beta: entries above it are penalised by their size, those below by their square
  uint64_t seed = 0;
  void check() const;
};

namespace regularizers {

using RegularizerPtr = std::shared_ptr<const Regularizer>;

// strength norm(g); its gradient strength H g / norm(g), 0 where g is.
RegularizerPtr gradient_norm(const GradientPenaltyOptions& options = {});

// strength norm(g)^2 / 2; its gradient strength H g (Barrett & Dherin 2021).
RegularizerPtr squared_gradient_norm(const GradientPenaltyOptions& options = {});

// strength times the sum over matrices (parameters of two dimensions or more, as [first, rest]) of the
// squares of their gradient's singular values beyond the k largest. Throws Error(usage), when first used,
// where `parameters` names no matrix.
RegularizerPtr gradient_low_rank(const GradientLowRankOptions& options = {});

// strength tr(B), as the mean of v'Bv (Hutchinson 1990).
RegularizerPtr trace(const ProbePenaltyOptions& options = {});

// strength norm_F(B)^2, as the mean of norm(Bv)^2.
RegularizerPtr frobenius(const ProbePenaltyOptions& options = {});

// strength abs(v'Bv), v by the power method: the eigenvalue of largest magnitude.
RegularizerPtr spectral(const SpectralPenaltyOptions& options = {});

// strength norm_F(B Q)^2, Q = I - V V', as the mean of norm(B Q z)^2. V follows the k eigenvectors of largest
// magnitude; where they are its columns this is the squared Frobenius distance of B from rank k.
RegularizerPtr tail_energy(const TailEnergyOptions& options = {});

// strength times the mean over entries of s(B_ij), s(x) = x^2 / (2 beta) for abs(x) < beta, abs(x) - beta / 2
// beyond, over random columns j.
RegularizerPtr column_sparsity(const ColumnSparsityOptions& options = {});

}  // namespace regularizers
}  // namespace osculant
