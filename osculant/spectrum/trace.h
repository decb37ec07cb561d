#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "osculant/linop/linear_operator.h"

namespace osculant {

enum class TraceMethod {
  automatic,  // Hutchinson or XTrace with the sketch that promises the smaller error, from the first products
  hutchinson,  // mean of z'Az over random signs z (Hutchinson 1990)
  deflated,    // Hutch++ (Meyer, Musco, Musco & Woodruff 2021): exact on the range of a sketch, the rest by
               // probes
  xtrace,      // XTrace (Epperly, Tropp & Webber 2024): the sketch's columns are samples of the rest as well
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
  int64_t sketch_bytes = int64_t{1} << 30;  // memory of a sketch, three vectors a column; fewer columns fit
  uint64_t seed = 0;
  std::function<bool(int64_t products)> progress = {};  // called between blocks of products; false stops

  int64_t vectors(const VectorSpace& space) const;  // that are held at once

  void check() const;
};

// The trace and an interval that covers it with the probability `confidence`, widened by the rounding of the
// products. An exact trace has an interval of rounding alone.
//
// With m columns of the sketch deflated, the interval rests on probes z that are independent of them: their
// mean of z'Bz has the variance 2 norm_F(B - bI)^2 / probes at most, B the remainder and b its mean
// eigenvalue, and norm(Bz - bz)^2 measures that norm. The value is a mean of theirs and of XTrace's
// leave-one-out estimates, whose spread is no interval: it covers in 77 to 85 of 100. Without deflation it is
// a t interval.
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
