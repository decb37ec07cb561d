#pragma once

#include <cstdint>
#include <memory>

#include "osculant/optim/direction.h"
#include "osculant/optim/options.h"

namespace osculant {

struct AdahessianOptions {
  double learning_rate = 0.15;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-4;
  double hessian_power = 1;
  double weight_decay = 0;
  int64_t probes = 1;
  int64_t interval = 1;
  bool spatial_averaging = true;
  void check() const;
};
void visit(OptionVisitor& visitor, AdahessianOptions& options);

// AdaHessian (Yao et al. 2021): Adam with the size of the Hessian's diagonal in place of the gradient's, by
// Hutchinson's estimate every `interval` steps, averaged over a convolution kernel's places.
std::unique_ptr<Direction> adahessian_direction(const AdahessianOptions& options);

}  // namespace osculant
