#include "osculant/study/spread.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "osculant/base/text.h"
#include "osculant/spectrum/ritz.h"

namespace osculant {
namespace {

IntervalRecord record_of(const Measured& x) {
  return {x.value, x.low, x.high};
}

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
  record.numerical = {rank.numerical.value, static_cast<double>(rank.numerical.low),
                      static_cast<double>(rank.numerical.high)};
  record.threshold = rank.threshold;
  record.upper_bound = rank.upper_bound;
  record.stable = record_of(rank.stable);
  record.effective = record_of(rank.effective);
  record.participation = record_of(rank.participation);
  record.dominance = record_of(rank.dominance);
  record.rank_one = to_string(rank.rank_one);
  record.miss_probability = rank.miss_probability;
  record.exact = rank.exact;
  record.how = rank.how;
  return record;
}

std::string words_of(const IntervalRecord& x) {
  if (!std::isfinite(x.value)) return "unknown";
  std::string value = format_number(x.value), low = format_number(x.low), high = format_number(x.high);
  return low == high ? value : fmt::format("{} ({} to {})", value, low, high);
}

std::string count_words(const IntervalRecord& x) {
  auto whole = [](double value) { return format_count(static_cast<int64_t>(value)); };
  return x.low == x.high ? whole(x.low) : fmt::format("{} to {}", whole(x.low), whole(x.high));
}

// Up to where this share of the eigenvalues lies: between the grid's points at which the most and the least
// that the distribution may be come to it.
std::string quantile_words(const DensityRecord& density, double share) {
  auto reached = [&](const std::vector<double>& cumulative) {
    auto found = std::lower_bound(cumulative.begin(), cumulative.end(), share);
    return density.grid[std::min<size_t>(found - cumulative.begin(), density.grid.size() - 1)];
  };
  return words_of(IntervalRecord{reached(density.cumulative), reached(density.cumulative_high),
                                 reached(density.cumulative_low)});
}

}  // namespace

int64_t SpreadSettings::vectors() const {
  RankOptions defaults;
  // The eigensolver's basis, where rank has to find the pairs itself, is 15 to a pair.
  int64_t own = rank && !pairs_known ? 15 * defaults.eigenvalues : 0;
  return any() ? std::max(sample.steps + 1, own) : 0;
}

int64_t SpreadSettings::products(int64_t n) const {
  if (n <= sample.dense_limit) return (density + rank) * n;
  RankOptions defaults;
  int64_t drawn = sample.steps * sample.probes, own = pairs_known ? 0 : 90 + 10 * defaults.eigenvalues;
  return (density ? drawn : 0) + (rank ? drawn + defaults.norm_probes + own : 0);
}

void fill_spread_defaults(AnalyzeConfig& config) {
  config.density = config.density.value_or(false);
  config.rank = config.rank.value_or(false);
  if (!*config.density && !*config.rank) return;
  config.quadrature_steps = config.quadrature_steps.value_or(SampleOptions{}.steps);
  config.quadrature_probes = config.quadrature_probes.value_or(SampleOptions{}.probes);
}

SpreadSettings spread_settings(const RunConfig& config, int64_t dense_limit, int64_t basis_bytes) {
  const AnalyzeConfig& a = config.analyze;
  SpreadSettings settings;
  settings.density = a.density.value_or(false);
  settings.rank = a.rank.value_or(false);
  settings.threshold = a.rank_threshold.value_or(0);
  settings.pairs_known = a.eigenvalues.value_or(0) > 0;
  settings.sample.steps = a.quadrature_steps.value_or(settings.sample.steps);
  settings.sample.probes = a.quadrature_probes.value_or(settings.sample.probes);
  settings.sample.dense_limit = dense_limit;
  settings.sample.basis_bytes = std::max<int64_t>(basis_bytes, 1);
  settings.sample.seed = static_cast<uint64_t>(config.run.seed.value_or(0));
  return settings;
}

void measure_spread(const LinearOperator& A, const SpreadSettings& settings, const EigenResult* pairs,
                    int64_t upper_bound, SpectrumRecord& record) {
  if (settings.rank) {
    RankOptions options;
    options.threshold = settings.threshold;
    options.sample = settings.sample;
    options.seed = settings.sample.seed;
    options.upper_bound = upper_bound;
    RankResult found = rank(A, options, pairs);
    record.rank = record_of(found);
    record.frobenius = record_of(found.frobenius);
  }
  if (settings.density)
    record.density = record_of(spectral_density(sample_spectrum(A, settings.sample, pairs)));
}

std::string to_text(const RankRecord& rank) {
  std::string out = fmt::format("  rank: {} eigenvalues beyond {} of the largest in magnitude",
                                count_words(rank.numerical), format_number(rank.threshold));
  out +=
      rank.upper_bound >= 0 ? fmt::format(", at most {} by theory\n", format_count(rank.upper_bound)) : "\n";
  out += fmt::format("  stable rank {}, effective rank {}, participation ratio {}\n", words_of(rank.stable),
                     words_of(rank.effective), words_of(rank.participation));
  IntervalRecord percent{100 * rank.dominance.value, 100 * rank.dominance.low, 100 * rank.dominance.high};
  const char* verdict = rank.rank_one == "yes"  ? "The matrix is of rank one to 1 %"
                        : rank.rank_one == "no" ? "The matrix is not of rank one"
                                                : "Whether the matrix is of rank one cannot be told";
  out += fmt::format("  {}: its largest eigenvalue's share of norm_F^2 in percent is {}.\n", verdict,
                     words_of(percent));
  return out + fmt::format("  {}{}.\n", rank.exact ? "" : "95 % intervals, from ", rank.how);
}

std::string to_text(const DensityRecord& density) {
  if (density.grid.empty()) return "  density: unknown\n";
  return fmt::format("  density: half of the eigenvalues in {} to {}, 90 % in {} to {}; smoothed to {}, {}\n",
                     quantile_words(density, 0.25), quantile_words(density, 0.75),
                     quantile_words(density, 0.05), quantile_words(density, 0.95),
                     format_number(density.width), density.how);
}

}  // namespace osculant
