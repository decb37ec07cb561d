#pragma once

#include <string>

#include "osculant/study/run_config.h"

namespace osculant {

// Beyond which curvature steps of plain gradient descent grow: where an eigenvalue of the objective's Hessian
// is larger, the quadratic model of the objective has no stable point under
//
//   sgd        theta <- theta - eta g                 2 / eta
//   momentum   v <- b v + g                           (2 + 2 b) / eta
//   nesterov                                          (2 + 2 b) / (1 + 2 b) / eta   (Cohen et al. 2021, app.
//   B)
//
// less the method's own weight decay.
struct StabilityLimit {
  double curvature;   // NaN: not known of the method
  std::string words;  // how it comes about, or why there is none
  double learning_rate = 0, momentum = 0;
  bool nesterov = false;
};
StabilityLimit stability_limit(const TrainConfig& train);

// The eigenvalue under which a step multiplies a quadratic's deviation by -r, r > 0: 1 + r over eta for sgd,
// (1 + b + r + b / r) / eta with momentum b, at r = 1 the limit. NaN where the method is no such one.
double curvature_of_growth(const StabilityLimit& limit, double r);

}  // namespace osculant
