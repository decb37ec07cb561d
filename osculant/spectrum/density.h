#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "osculant/spectrum/spectral_sample.h"

namespace osculant {

struct DensityOptions {
  int64_t points = 200;  // of the grid over what is not deflated; each pair beside it has a few of its own
  double width = 0;      // standard deviation of the kernel; 0: as narrow as the steps resolve
  double confidence = 0.95;

  void check() const;
};

// The spectral density smoothed by a Gaussian kernel, and the cumulative distribution as it is:
//
//   density(t)    = 1/n sum over eigenvalues of exp(-(t - l)^2 / (2 width^2)) / (width sqrt(2 pi)),
//   cumulative(t) = 1/n #{l <= t}.
//
// By stochastic Lanczos quadrature (Ubaru, Chen & Saad 2017) from a sample. The intervals are for one point
// of the grid at a time, and cover with the probability `confidence` over probes: for the density a t
// interval, widened by a bound of the quadrature's error (the smaller of Chebyshev-Markov-Stieltjes and
// gaussian_quadrature_error) and by the sample's shifts; for the cumulative distribution that of count_below.
// Where all eigenvalues were computed the intervals are rounding alone.
struct DensityResult {
  Tensor grid;                                         // float64 [points], ascending
  Tensor density, low, high;                           // float64 [points], per unit of eigenvalue
  Tensor cumulative, cumulative_low, cumulative_high;  // float64 [points], in [0, 1]

  // Means of l, l^2, l^3, l^4 over the n eigenvalues, and their standard errors over probes. The quadrature
  // adds none.
  Tensor moments, moment_errors;  // float64 [4]

  double width = 0;
  double quadrature_error = 0;  // largest part of a half interval of the density that is quadrature
  double confidence = 0.95;
  bool exact = false;
  int64_t size = 0;
  int64_t products = 0;
  std::string name;  // of the operator
  std::string how;   // what it rests on

  // Half the widths of the cumulative interval, integrated: about the Wasserstein distance from the true
  // spectrum that is to be feared.
  double wasserstein_error() const;
  std::string report() const;  // for a person
};

// Of a sample that is not usable() all tensors are empty, and report() says so.
DensityResult spectral_density(const SpectralSample& sample, const DensityOptions& options = {});

}  // namespace osculant
