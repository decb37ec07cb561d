#pragma once

#include <cstdint>

#include "osculant/spectrum/spectral_sample.h"

namespace osculant {

// A number of eigenvalues, with multiplicity, and an interval of whole numbers that holds it.
struct EigenvalueCount {
  double value = 0;  // need not be whole where it is an estimate
  int64_t low = 0, high = 0;
  bool exact() const { return low == high; }
};

// How many eigenvalues of the operator are <= t, and how many have abs(l) > t >= 0. The interval covers with
// at least the probability `confidence` over probes, whatever the spectrum and the steps are:
//
// - Of each probe the quadrature's bounds enclose the weight of the set (ProbeMeasure::bounds_below).
// - k of the N eigenvalues that are not deflated weigh sum norm(P z_i)^2 w_i / sum norm(P z_i)^2 over q
// normal
//   probes, which is distributed exactly as Beta(k q / 2, (N - k) q / 2); the interval is the k for which
//   what was seen is not in a tail (as in Clopper & Pearson 1934).
// - Eigenvalues within `shift` of t may be on either side of it.
//
// [0, n] where the sample is of no use.
EigenvalueCount count_below(const SpectralSample& sample, double t, double confidence = 0.95);
EigenvalueCount count_beyond(const SpectralSample& sample, double t, double confidence = 0.95);

}  // namespace osculant
