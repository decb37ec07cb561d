#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "osculant/linop/linear_operator.h"

namespace osculant {

enum class TraceMethod {
  automatic,   // whichever of the two below promises the narrower interval, decided on the first products
  hutchinson,  // mean of z'Az over random signs z (Hutchinson 1990)
  deflated,    // Hutch++ (Meyer, Musco, Musco & Woodruff 2021): exact on the range of a sketch, the rest by
               // probes
};
std::string_view to_string(TraceMethod method);

enum class TraceStop {
  exact,        // the diagonal was summed, or the operator's rank is below the size of the sketch
  tolerance,    // the interval is as narrow as asked for
  products,     // the products were spent
  interrupted,  // the progress callback said so
  non_finite,   // a product was not finite
};
std::string_view to_string(TraceStop stop);

struct TraceOptions {
  int64_t products = 100;  // most to spend; the trace is exact where n is no larger
  double tolerance = 0;    // stop when half the interval is below this share of abs(value); 0: spend all
  double confidence = 0.95;
  TraceMethod method = TraceMethod::automatic;
  uint64_t seed = 0;
  std::function<bool(int64_t products)> progress = {};  // called between blocks of products; false stops

  void check() const;
};

// The trace and an interval that covers it with the probability `confidence`: a t interval over independent
// probes, widened by the rounding of the products. An exact trace has an interval of rounding alone.
struct TraceResult {
  double value = 0;
  double low = 0, high = 0;  // -inf, inf where too few probes were made to say
  double confidence = 0.95;
  double rounding = 0;  // part of the half width that is rounding
  TraceMethod method = TraceMethod::hutchinson;
  TraceStop stop = TraceStop::products;
  bool exact = false;
  int64_t rank = 0;      // dimension of the space that was deflated
  int64_t probes = 0;    // independent samples the interval rests on
  int64_t products = 0;  // all told

  std::string report() const;  // for a person
};

TraceResult trace(const LinearOperator& A, const TraceOptions& options = {});

}  // namespace osculant
