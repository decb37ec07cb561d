#pragma once

#include <cstdint>
#include <limits>

#include "osculant/spectrum/certificate.h"
#include "osculant/spectrum/eigenpairs.h"

namespace osculant {

// Values beyond which an eigenvalue would count as missing, at the ends of the spectrum that a target asks
// about; infinite at an end of no interest.
struct SpectrumEnds {
  double above = std::numeric_limits<double>::infinity(), below = -above;

  bool leave_out(double value) const { return value > above || value < below; }

  // The probability that an eigenvalue there escaped a run from a random start in R^n.
  double escape_probability(int64_t n, const Tridiagonal& T) const;
};

// Beyond the innermost of the values found by more than `slack`.
SpectrumEnds ends_beyond_innermost(const EigenResult& found, double slack);

// Beyond the outermost Ritz values seen by more than `slack`.
SpectrumEnds ends_beyond_outermost(EigenTarget target, double lowest, double highest, double slack);

}  // namespace osculant
