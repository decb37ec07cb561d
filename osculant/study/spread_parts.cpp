#include <algorithm>

#include "osculant/spectrum/density.h"
#include "osculant/spectrum/rank.h"
#include "osculant/spectrum/ritz.h"
#include "osculant/study/analysis_part.h"
#include "osculant/study/rank_fields.h"

// How the eigenvalues of a matrix are spread: rank and density.

namespace osculant {
namespace {

DensityRecord record_of(const DensityResult& density) {
  DensityRecord record;
  record.width = density.width;
  record.grid = to_vector(density.grid);
  record.value = to_vector(density.density);
  record.low = to_vector(density.low);
  record.high = to_vector(density.high);
  record.cumulative = to_vector(density.cumulative);
  record.cumulative_low = to_vector(density.cumulative_low);
  record.cumulative_high = to_vector(density.cumulative_high);
  record.wasserstein_error = density.wasserstein_error();
  record.exact = density.exact;
  record.how = density.how;
  return record;
}

RankRecord record_of(const RankResult& rank) {
  RankRecord record;
  put_rank(record, rank);
  record.effective = record_of(rank.effective);
  record.miss_probability = rank.miss_probability;
  return record;
}

// Writes the defaults into the run's configuration.
SampleOptions sample_options(const Problem& problem, RunConfig& config) {
  AnalyzeConfig& a = config.analyze;
  SampleOptions options;
  options.steps = *(a.quadrature_steps = a.quadrature_steps.value_or(options.steps));
  options.probes = *(a.quadrature_probes = a.quadrature_probes.value_or(options.probes));
  options.dense_limit = analysis_dense_limit;
  options.basis_bytes = std::max<int64_t>(problem.memory_budget / 2, 1);
  options.seed = config.seed();
  return options;
}

int64_t sample_products(const Problem& problem, const SampleOptions& options) {
  int64_t n = problem.model.parameters();
  return n <= options.dense_limit ? n : options.steps * options.probes;
}

// What the eigensolver takes where rank has to find the pairs itself.
int64_t own_products(const Problem& problem, const RankOptions& options, bool pairs_known) {
  if (pairs_known || problem.model.parameters() <= options.sample.dense_limit) return 0;
  return eigensolver_products(options.eigenvalues);
}

}  // namespace

std::optional<AnalysisPart> rank_part(const Problem& problem, const MatrixKind&, RunConfig& config) {
  if (!*(config.analyze.rank = config.analyze.rank.value_or(false))) return std::nullopt;
  RankOptions options;
  options.threshold = config.analyze.rank_threshold.value_or(0);
  options.sample = sample_options(problem, config);
  options.seed = options.sample.seed;
  bool pairs_known = pairs_wanted(config) > 0;
  auto measure = [options](MatrixInHand& matrix) {
    RankOptions own = options;
    own.sample.progress = [&](int64_t) { return matrix.go_on("rank"); };
    if (matrix.kind.rank_bound) own.upper_bound = matrix.kind.rank_bound(matrix.objective, matrix.config);
    RankResult found = rank(matrix.A, own, matrix.known_pairs());
    matrix.record.rank = record_of(found);
    matrix.record.frobenius = record_of(found.frobenius);
  };
  bool formed = problem.model.parameters() <= options.sample.dense_limit;
  int64_t products = sample_products(problem, options.sample) + own_products(problem, options, pairs_known) +
                     (formed ? 0 : options.norm_probes);
  // The eigensolver's own basis is 15 to a pair.
  int64_t vectors = std::max(options.sample.steps + 1, pairs_known ? 0 : 15 * options.eigenvalues);
  return AnalysisPart{"rank", products, vectors, measure};
}

std::optional<AnalysisPart> density_part(const Problem& problem, const MatrixKind&, RunConfig& config) {
  if (!*(config.analyze.density = config.analyze.density.value_or(false))) return std::nullopt;
  SampleOptions options = sample_options(problem, config);
  auto measure = [options](MatrixInHand& matrix) {
    SampleOptions watched = options;
    watched.progress = [&](int64_t) { return matrix.go_on("density"); };
    matrix.record.density =
        record_of(spectral_density(sample_spectrum(matrix.A, watched, matrix.known_pairs())));
  };
  return AnalysisPart{"density", sample_products(problem, options), options.steps + 1, measure};
}

}  // namespace osculant
