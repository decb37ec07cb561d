#pragma once

#include <cstdint>
#include <string>

#include "osculant/objective/objective.h"
#include "osculant/spectrum/functions.h"

namespace osculant {

// The gradient noise scale of McCandlish et al. (2018, arXiv:1812.06162): B = tr C / |G|^2, C the covariance
// of single examples' gradients and G their mean over the distribution that the examples came from. A
// mini-batch's gradient has as much noise as signal at B examples; smaller batches are mostly noise, larger
// ones buy little.
struct NoiseScale {
  Measured scale;             // B, examples; infinite where no signal is told from noise
  Measured trace;             // tr C
  Measured squared_gradient;  // |G|^2; its low end may lie below 0
  int64_t examples = 0;
  std::string words;  // B with its interval in a sentence
};

// At the present parameters, of the data term, regularisers left out. With g the mean of N gradients g_i,
//   tr C = (sum of |g_i|^2 - N |g|^2) / (N - 1),   |G|^2 = |g|^2 - tr C / N
// have no bias (appendix A.1). Intervals are 95 %, by the jackknife over examples, of 1 / B and turned over,
// since |G|^2 may well be near 0. Costs a gradient and the products of LayerRows: no gradient of a single
// example is formed. Throws Error(usage) for several terms, coupled or weighted examples, and fewer than 3.
NoiseScale noise_scale(const Objective& objective);

}  // namespace osculant
