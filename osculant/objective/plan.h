#pragma once

#include <cstdint>
#include <string>

#include "osculant/objective/linearization.h"

namespace osculant {

// Work to be planned: curvature products at one theta and the vectors held meanwhile.
struct PlannedWork {
  Needs needs = {};  // .hessian and/or .gauss_newton
  int64_t hessian_products = 0;
  int64_t gauss_newton_products = 0;
  int64_t evaluations = 0;  // of the objective
  int64_t vectors = 0;      // vectors of R^n held at once (Krylov bases, gradients)
};

// What it will cost, before it is done: one batch is measured, the rest follows.
struct Plan {
  double gradient_equivalents = 0;  // at nominal prices, the measured batch included
  double seconds = 0;               // extrapolated from one batch on this machine
  int64_t batches = 0;
  int64_t kept = 0;           // batches whose graphs fit
  int64_t graph_bytes = 0;    // of the kept graphs
  int64_t working_bytes = 0;  // on top of them, at the worst moment of a sweep or product
  int64_t vector_bytes = 0;
  int64_t budget = 0;
  int64_t batch_size = 0;  // of the measured batch

  int64_t peak_bytes() const { return graph_bytes + working_bytes + vector_bytes; }
  int64_t minimum_bytes() const { return working_bytes + vector_bytes; }  // with no graph kept
  int64_t graph_budget() const;                                           // what is left for kept graphs
  bool fits() const { return minimum_bytes() <= budget; }
  std::string str() const;

  // Throws Error(memory) when even without kept graphs the work does not fit, naming what would.
  void require_fit() const;
};

// Measures the first batch of each term: its graphs' bytes and the seconds of a sweep and of each product.
Plan plan(const Objective& objective, const PlannedWork& work);

}  // namespace osculant
