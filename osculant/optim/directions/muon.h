#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "osculant/optim/direction.h"
#include "osculant/optim/directions/matrix_precision.h"
#include "osculant/optim/options.h"

namespace osculant {

// What the orthogonalised matrix is multiplied by, of a layer [rows, columns].
enum class MuonScale {
  original,         // sqrt(max(1, rows / columns)) (Jordan et al. 2024)
  match_rms_adamw,  // 0.2 sqrt(max(rows, columns)): steps as long as AdamW's (Liu et al. 2025)
};

struct MuonOptions {
  double learning_rate = 0.02;
  double momentum = 0.95;
  bool nesterov = true;
  double weight_decay = 0;
  int64_t newton_schulz_steps = 5;
  MuonScale scale = MuonScale::original;
  MatrixPrecision precision = MatrixPrecision::automatic;  // of the Newton-Schulz steps
  int64_t max_dimension = 10000;
  // AdamW for all that is no matrix.
  std::optional<double> adam_learning_rate = {};  // 0.015 learning_rate; with match_rms_adamw the same
  double adam_beta1 = 0.9;
  double adam_beta2 = 0.95;
  double adam_epsilon = 1e-10;
  double adam_weight_decay = 0;
  void check() const;
};
void visit(OptionVisitor& visitor, MuonOptions& options);

// M [count, rows, columns] with singular values near 1 in place of its own, by the quintic Newton-Schulz
// iteration of Jordan et al. (2024): X <- a X + (b XX' + c (XX')^2) X from M / norm_F(M). After 5 steps those
// that were above 1e-2 of norm_F lie between 0.67 and 1.21; `bfloat16` computes the steps in it.
Tensor orthogonalized(const Tensor& M, int64_t steps = 5, bool bfloat16 = false);

// Muon (Jordan et al. 2024) for layers' matrices, convolutions' kernels as [out, in kh kw]; AdamW
// (Loshchilov & Hutter 2019) for biases, and for matrices with a dimension above the limit (embeddings).
// Conventions are torch.optim.Muon's.
std::unique_ptr<Direction> muon_direction(const MuonOptions& options);

}  // namespace osculant
