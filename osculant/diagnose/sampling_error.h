#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "osculant/linop/linear_operator.h"
#include "osculant/objective/objective.h"
#include "osculant/spectrum/eigenpairs.h"
#include "osculant/spectrum/functions.h"

namespace osculant {

// How far the eigenvalues of a matrix of N examples are from those of the distribution that the examples were
// drawn from. The examples are split at random into 2, 4 and 8 parts, without replacement (drawing with
// replacement moves extremes outwards: El Karoui & Purdom 2019), and the matrix of each part is measured.

// The parts of one size.
struct PartsOfASize {
  int64_t parts = 0;  // disjoint, N / parts examples each
  std::vector<double> values;
  double mean = 0;
  double deviation = 0;  // standard deviation over the parts
};

struct SamplingError {
  double value = 0;                 // on all N examples
  double error = 0;                 // of its computation: residual bound, or half an interval
  double deviation = 0;             // estimate: its standard deviation over data sets of N examples
  Measured bias = {};               // estimate: what it is expected to exceed the population's value by
  Measured predicted = {};          // extrapolated from halves and quarters to N, as a check against `value`
  Measured population = {};         // estimate of the value for all examples there could be, 95 % interval
  std::vector<PartsOfASize> sizes;  // fewest parts first
};

// With y_k the mean over k parts of N / k examples, y the value on all, m = N / k:
//
//   deviation  s / sqrt(N), s^2 pooled from m times the variance over the parts of each size
//   bias       the mean of a convex function such as the largest eigenvalue falls as m grows: a + c m^-p, p =
//   1
//              for an eigenvalue that lies apart, p = 1/2 at worst, in a spectrum without a gap. With p known
//              (y_k - y) / (k^p - 1) is the bias left at N, the sampling noise of y having cancelled since
//              the parts are all of the data (for p = 1 and halves Quenouille's correction, 1949). The
//              interval is over both p, from halves and from quarters; the value for the p they suggest
//   population y - bias, widened by a t interval of `deviation` and by `error`
//
// `sizes` must hold halves and quarters.
SamplingError extrapolate(double value, double error, int64_t examples, std::vector<PartsOfASize> sizes,
                          double confidence = 0.95);

struct SamplingProgress {
  int64_t matrix = 1, matrices = 1;  // which is next, of how many, A the first
  double sizes_done = 0;             // each size costs what A itself costs; A not counted
};

struct SamplingErrorOptions {
  int64_t trace_products = 30;             // the same probes for all parts
  double tolerance = 1e-3;                 // of eigenvalues
  int64_t dense_limit = 500;               // n up to which matrices are formed, and traces exact
  int64_t basis_bytes = int64_t{1} << 30;  // memory of the eigensolver's basis
  uint64_t seed = 0;
  std::function<bool(const SamplingProgress&)> go_on = {};  // before each matrix; false stops
  void check() const;
};

struct SpectrumSamplingError {
  SamplingError largest, smallest, trace;
  bool finished = false;  // false where it was stopped: nothing else is valid then
};

// Matrices of parts of an objective's examples.
using MatrixOf = std::function<OperatorPtr(const Objective&)>;

// The extremes and the trace of A, the matrix that `make` gives for the objective. `pairs`: of A, largest and
// smallest, or null. Each size costs what A itself costs. Throws Error(usage) for objectives of several
// terms, for fewer than 16 examples and for models that take one batch size alone.
SpectrumSamplingError sampling_error(const Objective& objective, const LinearOperator& A,
                                     const MatrixOf& make, const EigenResult* pairs = nullptr,
                                     const SamplingErrorOptions& options = {});
void require_parts(const Objective& objective);  // throws what it would throw
bool has_parts(const Objective& objective);      // whether it would throw nothing

}  // namespace osculant
