#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "osculant/spectrum/functions.h"
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

struct NumericalRankRecord : IntervalRecord {
  double threshold = 0;  // relative to the largest eigenvalue in magnitude
};

// Of a layer's own block.
struct LayerRankRecord {
  std::string name;
  int64_t parameters = 0;
  NumericalRankRecord numerical;
  IntervalRecord stable, participation, dominance;  // 95 % intervals
  std::optional<int64_t> upper_bound;
  std::string rank_one;
  bool exact = false;
  std::string how;
};

struct RankRecord {
  NumericalRankRecord numerical;
  IntervalRecord stable, effective, participation;  // 95 % intervals
  IntervalRecord dominance;            // of the largest eigenvalue, its square's share of norm_F^2
  std::optional<int64_t> upper_bound;  // of theory
  std::string rank_one;                // yes, no, unknown
  double miss_probability = 0;
  bool exact = false;
  std::string how;
  std::vector<LayerRankRecord> layers = {};  // in theta's order
};

struct SparsityRecord {
  struct Layer {
    std::string name;
    int64_t parameters = 0;
  };
  std::string structure;  // diagonal, block_diagonal, band, dense, unknown
  int64_t width = 0;      // of a band, in layers
  std::string words;
  double tolerance = 0;  // what a structure may leave out, relative to norm_F
  std::vector<Layer> layers;
  std::vector<std::vector<IntervalRecord>> norms;  // norm_F of the block of each pair of layers
  IntervalRecord frobenius;
  IntervalRecord off_diagonal;         // norm_F of what is off the diagonal, relative
  std::vector<IntervalRecord> beyond;  // of the blocks of layers more than 0, 1, ... apart, relative
  double scale = 0;                    // the largest entry is at least this
  double largest_high = 0;             // and at most this
  double threshold = 0;
  IntervalRecord negligible;  // share of entries at most threshold * scale
  int64_t columns = 0;        // that it was seen in
  double miss_probability = 0;
  bool exact = false;
  std::string how;
};

struct LowRankRecord {
  // A rank r with low <= r <= high; no high: not known to be reached.
  struct Rank {
    int64_t low = 0;
    std::optional<int64_t> high;
  };
  struct Method {
    std::string name;
    std::vector<IntervalRecord> error;  // of rank 0, 1, ..., relative to norm_F
    std::optional<Rank> rank;           // the smallest whose error is that wanted
    std::string words;                  // the same: "12 to 14", "more than 20", "unknown"
    std::string note;                   // why there is no curve, or why it ends early
    int64_t products = 0;
  };
  double wanted = 0;
  IntervalRecord frobenius;
  std::vector<Method> methods;
  bool exact = false;
  std::string how;
};

struct SpectrumRecord {
  std::string note;                        // what the matrix is, where that needs saying
  std::vector<EigenvalueRecord> largest;   // descending
  std::vector<EigenvalueRecord> smallest;  // ascending
  std::string stop;                        // why the eigensolver stopped, in words
  bool converged = false;
  double tolerance = 0;                    // relative to the largest in magnitude
  double pairing_failure_probability = 0;  // that the residuals above do not hold all at once
  double miss_probability =
      0;  // that a larger or smaller one was missed, at this tolerance; 1 or NaN: unknown
  std::optional<TraceRecord> trace;
  std::optional<DensityRecord> density;
  std::optional<RankRecord> rank;
  std::optional<IntervalRecord> frobenius;  // norm, with the rank
  std::optional<SparsityRecord> sparsity;
  std::optional<LowRankRecord> low_rank;
  std::vector<std::pair<std::string, IntervalRecord>> layer_norms;  // of each layer's own block; may be empty
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
std::string to_text(const SparsityRecord& sparsity);
std::string to_text(const LowRankRecord& low_rank);

IntervalRecord record_of(const Measured& x);

}  // namespace osculant
