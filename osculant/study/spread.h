#pragma once

#include <cstdint>

#include "osculant/spectrum/density.h"
#include "osculant/spectrum/rank.h"
#include "osculant/study/result.h"
#include "osculant/study/run_config.h"

namespace osculant {

// How the eigenvalues of a matrix are spread, for `analyze --density --rank`: what is asked for, what it
// takes and what of it goes into a result.

struct SpreadSettings {
  bool density = false, rank = false;
  SampleOptions sample = {};
  double threshold = 0;      // of the rank; 0: the default
  bool pairs_known = false;  // eigenpairs are found before

  bool any() const { return density || rank; }
  int64_t vectors() const;            // held at once
  int64_t products(int64_t n) const;  // expected
};

// Writes the defaults into the run's configuration.
void fill_spread_defaults(AnalyzeConfig& config);

// `dense_limit`: n up to which the matrix is formed. A default configuration wants none of it.
SpreadSettings spread_settings(const RunConfig& config, int64_t dense_limit, int64_t basis_bytes);

// Adds density, rank and Frobenius norm, as far as they are wanted. `pairs` may be null; `upper_bound`: of
// the rank, by theory, or -1.
void measure_spread(const LinearOperator& A, const SpreadSettings& settings, const EigenResult* pairs,
                    int64_t upper_bound, SpectrumRecord& record);

}  // namespace osculant
