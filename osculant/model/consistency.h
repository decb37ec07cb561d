#pragma once

#include "osculant/model/model.h"

namespace osculant {

// Whether a network is a function of its parameters and one example, as curvature takes it to be. Each number
// is the largest difference between outputs that should be the same, relative to the largest output; 0 is
// what most networks have, NaN is unknown.
struct Consistency {
  double repeated = 0;  // the same batch twice: dropout or noise makes it differ
  double coupled = 0;   // the same examples beside others: statistics over a batch make it differ
  double rounding = 0;  // 1000 u: up to which a difference is none

  bool deterministic() const { return !(repeated > rounding); }
  bool independent() const { return !(coupled > rounding); }
};

// Three forward passes over `batch`, in the mode the model is in. `coupled` is NaN where the batch holds one
// example, where its examples are all alike, and where outputs are not deterministic.
Consistency consistency(const Model& model, const Batch& batch);

}  // namespace osculant
