#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "osculant/spectrum/counts.h"
#include "osculant/spectrum/eigenpairs.h"
#include "osculant/spectrum/functions.h"
#include "osculant/spectrum/norms.h"
#include "osculant/spectrum/spectral_sample.h"

namespace osculant {

struct RankOptions {
  double threshold = 0;      // t, relative to max abs(l); 0: default_rank_threshold
  int64_t eigenvalues = 10;  // of largest magnitude, found first where no pairs are given
  double tolerance = 1e-3;   // of these
  int64_t norm_probes = 30;
  SampleOptions sample = {};  // its dense_limit is where the matrix is formed and the answer exact
  double confidence = 0.95;   // of each interval
  int64_t upper_bound = -1;   // what theory knows of the rank (curvature/rank_bound.h); -1: nothing
  uint64_t seed = 0;          // of all parts

  void check() const;
};

// max(n u, 1e-9 in float64, 1e-5 in float32), u the dtype's epsilon.
double default_rank_threshold(int64_t n, const VectorSpace& space);

enum class Answer { no, yes, unknown };
std::string_view to_string(Answer answer);

// How much of R^n a symmetric operator acts on, in several words; l its eigenvalues.
struct RankResult {
  double threshold = 0;               // t
  EigenvalueCount numerical;          // #{abs(l) > t max abs(l)}
  Measured stable;                    // norm_F^2 / norm_2^2
  Measured effective;                 // exp(entropy of abs(l) / sum abs(l))
  Measured participation;             // (sum abs(l))^2 / sum l^2
  Measured frobenius;                 // norm_F
  Measured spectral;                  // norm_2 = max abs(l)
  Measured dominance;                 // max abs(l)^2 / norm_F^2
  Answer rank_one = Answer::unknown;  // dominance >= 0.99
  bool exact = false;                 // all eigenvalues were computed; intervals are rounding
  double miss_probability = 0;        // that an eigenvalue beyond those found, and with it norm_2, was missed
  int64_t upper_bound = -1;           // as given
  double confidence = 0.95;
  int64_t size = 0, products = 0;
  std::string name;  // of the operator
  std::string how;   // what it rests on

  std::string report() const;  // for a person
};

// norm_F^2 / norm_2^2 of a matrix whose norms these are; 0 of a zero matrix, unbounded where a norm is not
// known.
Measured stable_rank(const Measured& frobenius, const Measured& spectral);

// Where the matrix is not formed: norm_2 from pairs of both signs (`pairs`, of target `both` or `dominant`,
// or found here), norm_F from probes beside them, the rest from a sample, in which the pairs are deflated if
// what their residuals leave open is small against the threshold. The numerical rank's interval is
// count_beyond's, cut to what the pairs prove and to the upper bound. NaN and unbounded intervals where
// products were not finite or the work was cut short.
RankResult rank(const LinearOperator& A, const RankOptions& options = {}, const EigenResult* pairs = nullptr);

}  // namespace osculant
