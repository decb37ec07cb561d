#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "osculant/base/random.h"
#include "osculant/objective/objective.h"
#include "osculant/spectrum/functions.h"

namespace osculant {

// What a few examples tell of the curvature on all of them. The largest eigenvalue of a few examples' Hessian
// lies above that of all (the largest of noisy numbers), so it is no evidence. A direction found on some
// examples and measured on others is: v'Hv there is a mean over examples of v'H_i v, without bias, and no
// larger than the largest eigenvalue but for its noise, which is estimated from parts.
struct ExampleParts {
  std::vector<Objective> fit;     // one: where directions are found
  std::vector<Objective> checks;  // where they are measured: fit itself where it is all the data
  bool whole = false;             // fit is all the data, so that nothing is estimated
  bool empty() const { return fit.empty(); }
  int64_t fit_examples() const;
  int64_t check_examples() const;
};

// Drawn at random from the data of an objective with one term: `examples` for fit and as many in eighths, or
// all the data where there are no more than that. Where batches have a size that matters, of a model that
// couples examples or takes one size alone, the parts are four batches of `batch`. Empty where there is not
// enough. They share the objective's ledger.
ExampleParts example_parts(const Objective& objective, int64_t examples, int64_t batch, RandomStream& random);

// The slope g'v and the curvature v'Hv of a unit vector v [n], with Student's t interval at 95 % over parts;
// exact where they are all the data. Costs a gradient graph and a product on them.
struct AlongDirection {
  Measured slope, curvature;
};
AlongDirection measure_along(const ExampleParts& parts, const Tensor& v);

// Ritz vectors of both ends of the Hessian on `objective`, of a few steps of Lanczos from `start` [n], random
// where undefined. Undefined where products were not finite. Costs a gradient graph and `steps` products.
struct ExtremeDirections {
  Tensor largest, smallest;  // [n], unit
  double largest_value = 0, smallest_value = 0;
};
ExtremeDirections extreme_directions(const Objective& objective, const Tensor& start, int64_t steps,
                                     RandomStream& random);

}  // namespace osculant
