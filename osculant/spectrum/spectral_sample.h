#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "osculant/linop/linear_operator.h"
#include "osculant/spectrum/eigenpairs.h"
#include "osculant/spectrum/quadrature.h"

namespace osculant {

struct SampleOptions {
  int64_t steps = 60;         // of Lanczos from each probe
  int64_t probes = 10;        // at least 2
  int64_t dense_limit = 500;  // n up to which the matrix is formed and all eigenvalues are computed
  int64_t basis_bytes = int64_t{1} << 30;  // memory of a basis, which may shorten the steps
  double noise_floor = 0;  // rounding error of a product relative to the operator's norm, where measured
  uint64_t seed = 0;
  std::function<bool(int64_t products)> progress = {};  // called after each product; false stops

  void check() const;
};

enum class SampleStop {
  exact,        // all eigenvalues were computed
  done,         // all probes were made
  interrupted,  // the progress callback said so; whole probes are kept
  non_finite,   // a product was not finite; whole probes are kept
};
std::string_view to_string(SampleStop stop);

// What is known of all eigenvalues of a symmetric operator A: those of pairs (U, l) found before, and for
// the rest the spectral measures of P A P, P = I - U U', seen from normal random vectors: the measure's
// weight of a set of eigenvalues has the mean (their number) / (n - d) over probes. Density, counts and
// traces of functions all come from one sample (density.h, counts.h, functions.h).
//
// A is U diag(l) U' + P A P but for the pairs' residuals R, and the products are rounded. So
// the eigenvalues of A pair one to one with those described here, each within `shift` (Weyl), the sum of
// the differences being at most `total_shift` (Mirsky 1960).
struct SpectralSample {
  int64_t size = 0;           // n
  std::string name;           // of the operator
  std::vector<double> known;  // all n eigenvalues where `exact`, else those of the pairs; ascending
  bool exact = false;
  std::vector<ProbeMeasure> probes;
  std::vector<double> weights;  // of each probe z: norm(P z)^2, chi-square with n - d degrees of freedom
  int64_t steps = 0;            // most that any probe took

  // Ends of the spectrum of what is not deflated. Where probes were drawn an eigenvalue of P A P lies outside
  // with at most the probability `outside_probability`.
  double low = 0, high = 0, outside_probability = 0;
  double scale = 0;  // max abs(l) seen
  double shift = 0, total_shift = 0;

  int64_t products = 0;
  SampleStop stop = SampleStop::done;

  int64_t rest() const { return size - static_cast<int64_t>(known.size()); }
  // Whether anything can be said: all eigenvalues known, or at least two probes.
  bool usable() const { return exact || probes.size() >= 2 || (rest() == 0 && size > 0); }
  std::string how() const;  // "10 probes of 60 steps beside 5 eigenpairs", for reports
};

// Lanczos from each probe with the pairs of `outliers` deflated, if there are any; they must be A's. Throws
// Error(usage) for an operator not declared symmetric.
SpectralSample sample_spectrum(const LinearOperator& A, const SampleOptions& options = {},
                               const EigenResult* outliers = nullptr);

}  // namespace osculant
