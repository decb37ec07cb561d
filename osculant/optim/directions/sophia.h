#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "osculant/optim/direction.h"
#include "osculant/optim/options.h"

namespace osculant {

enum class SophiaEstimator {
  hutchinson,             // of the Hessian's diagonal: SophiaH
  gauss_newton_bartlett,  // of the Gauss-Newton matrix's, from drawn targets: SophiaG
};

struct SophiaOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.96;
  double beta2 = 0.99;
  SophiaEstimator estimator = SophiaEstimator::hutchinson;
  std::optional<double> gamma = {};  // 0.01 for hutchinson, 0.05 for gauss_newton_bartlett
  double epsilon = 1e-12;
  double weight_decay = 0;
  int64_t interval = 10;
  void check() const;
};
void visit(OptionVisitor& visitor, SophiaOptions& options);

// Sophia (Liu et al. 2023, algorithm 3): steps along the mean gradient over the mean of curvature diagonals,
// estimated every `interval` steps, each entry clipped to the learning rate: where curvature is small,
// negative or not known the step is that of the mean's sign.
std::unique_ptr<Direction> sophia_direction(const SophiaOptions& options, const Objective& objective);

}  // namespace osculant
