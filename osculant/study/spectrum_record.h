#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "osculant/study/landscape_record.h"

namespace osculant {

// What an analysis found of one matrix, as result.json has it under spectrum.MATRIX (docs/result-format.md).
// Numbers that are not known are NaN here and null there; parts that were not asked for are empty here and
// absent there.

struct EigenvalueRecord {
  double value = 0;
  double residual = 0;  // a true eigenvalue, a different one for each entry, lies within this
  double distance = 0;  // a true eigenvalue, perhaps the same for two entries, lies within this
};

struct TraceRecord {
  double value = 0;
  double low = 0;  // 95 % interval
  double high = 0;
  int64_t probes = 0;
  bool exact = false;
};

// Smoothed by a Gaussian kernel of this width, but for the cumulative distribution; entries go with the grid.
struct DensityRecord {
  double width = 0;
  std::vector<double> grid, value, low, high;  // per unit of eigenvalue; 95 % intervals, point by point
  std::vector<double> cumulative, cumulative_low, cumulative_high;
  double wasserstein_error = 0;
  bool exact = false;
  std::string how;
};

struct RankRecord {
  struct Numerical : IntervalRecord {
    double threshold = 0;  // relative to the largest in magnitude
  };
  Numerical numerical;
  IntervalRecord stable, effective, participation;  // 95 % intervals
  IntervalRecord dominance;            // of the largest eigenvalue, its square's share of norm_F^2
  std::optional<int64_t> upper_bound;  // of theory
  std::string rank_one;                // yes, no, unknown
  double miss_probability = 0;
  bool exact = false;
  std::string how;
};

struct SpectrumRecord {
  std::string note;                        // what the matrix is, where that needs saying
  std::vector<EigenvalueRecord> largest;   // descending
  std::vector<EigenvalueRecord> smallest;  // ascending
  std::string stop;                        // why the eigensolver stopped, in words
  bool converged = false;
  double tolerance = 0;  // relative to the largest in magnitude
  double miss_probability =
      0;  // that a larger or smaller one was missed, at this tolerance; 1 or NaN: unknown
  std::optional<TraceRecord> trace;
  std::optional<DensityRecord> density;
  std::optional<RankRecord> rank;
  std::optional<IntervalRecord> frobenius;  // norm, with the rank
  std::optional<AlignmentRecord> alignment;
  std::optional<SlicesRecord> slices;
  std::optional<SamplingErrorRecord> sampling_error;
  int64_t products = 0;
  std::vector<std::string> finished;  // parts of the analysis that came to their end
};

std::string to_text(const std::string& matrix, const SpectrumRecord& spectrum);
std::string to_text(const DensityRecord& density);
std::string to_text(const RankRecord& rank);
std::string to_text(const TraceRecord& trace);

}  // namespace osculant
