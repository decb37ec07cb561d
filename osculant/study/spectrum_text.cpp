#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>

#include "osculant/base/text.h"
#include "osculant/study/matrices.h"
#include "osculant/study/spectrum_record.h"

namespace osculant {
namespace {

std::string eigenvalue_text(const EigenvalueRecord& pair) {
  return fmt::format("{} +- {}", format_number(pair.value), format_number(pair.residual));
}

std::string eigenvalues_table(const SpectrumRecord& spectrum) {
  if (spectrum.largest.empty() && spectrum.smallest.empty()) return "";
  TextTable table({"", "largest", "smallest"});
  for (size_t i = 0; i < std::max(spectrum.largest.size(), spectrum.smallest.size()); ++i) {
    auto entry = [i](const auto& list) {
      return i < list.size() ? eigenvalue_text(list[i]) : std::string("-");
    };
    table.add({std::to_string(i + 1), entry(spectrum.largest), entry(spectrum.smallest)});
  }
  std::string out = table.str();
  out += "  +- is a bound: each entry of a column has an eigenvalue of the matrix of its own within it";
  if (spectrum.pairing_failure_probability > 0)
    out += fmt::format(", but for a probability of {}", format_number(spectrum.pairing_failure_probability));
  out += ".\n";
  if (spectrum.miss_probability == 0) return out + "  None further out can have been missed.\n";
  bool bounded = spectrum.miss_probability < 1;
  return out +
         fmt::format(
             "  Probability that one further out was missed by more than that and {} of the largest: {}.\n",
             format_number(spectrum.tolerance),
             bounded ? "at most " + format_number(spectrum.miss_probability) : "unknown");
}

std::string curvature_meaning(const SpectrumRecord& spectrum) {
  if (spectrum.largest.empty() || spectrum.smallest.empty()) return "";
  const EigenvalueRecord &top = spectrum.largest.front(), &bottom = spectrum.smallest.front();
  if (bottom.value + bottom.residual < 0)
    return fmt::format("  Indefinite: a direction of negative curvature is certain, of {} or below.\n",
                       format_number(bottom.value + bottom.residual));
  if (bottom.value - bottom.residual > 0)
    return fmt::format("  Positive definite as far as seen, with a condition number of {} to {}.\n",
                       format_number((top.value - top.residual) / (bottom.value + bottom.residual)),
                       format_number((top.value + top.residual) / (bottom.value - bottom.residual)));
  return "  The smallest eigenvalue cannot be told from zero: the matrix is singular, or close to it.\n";
}

std::string trace_text(const SpectrumRecord& spectrum) {
  if (!spectrum.trace) return "  trace: unknown\n";
  const TraceRecord& trace = *spectrum.trace;
  std::string out = trace.exact
                        ? fmt::format("  trace {} (exact but for rounding)\n", format_number(trace.value))
                        : fmt::format("  trace {}, 95 % interval {} to {}\n", format_number(trace.value),
                                      format_number(trace.low), format_number(trace.high));
  if (!spectrum.largest.empty() && trace.low > 0) {
    const EigenvalueRecord& top = spectrum.largest.front();
    IntervalRecord percent{100 * top.value / trace.value, 100 * (top.value - top.residual) / trace.high,
                           100 * (top.value + top.residual) / trace.low};
    out += fmt::format("  The largest eigenvalue alone in percent of the trace: {}.\n", words_of(percent));
  }
  return out;
}

std::string count_words(const IntervalRecord& x) {
  auto whole = [](double value) { return format_count(static_cast<int64_t>(value)); };
  if (!std::isfinite(x.low) || !std::isfinite(x.high)) return "an unknown number of";
  return x.low == x.high ? whole(x.low) : fmt::format("{} to {}", whole(x.low), whole(x.high));
}

std::string number_or_unknown(double value) {
  return std::isfinite(value) ? format_number(value) : "unknown";
}

std::string layers_table(const RankRecord& rank) {
  if (rank.layers.empty()) return "";
  TextTable table({"layer", "parameters", "rank", "at most", "stable rank", "participation", "rank one"});
  for (const auto& layer : rank.layers)
    table.add({layer.name, format_count(layer.parameters), count_words(layer.numerical),
               layer.upper_bound ? format_count(*layer.upper_bound) : "-", words_of(layer.stable),
               words_of(layer.participation), layer.rank_one});
  return "  Each layer's own block, with a threshold relative to its own largest eigenvalue:\n" + table.str();
}

// Of each layer with itself and with others, the largest first, as many as there is room for.
std::string largest_blocks(const SparsityRecord& sparsity) {
  constexpr size_t most = 12;
  struct Block {
    size_t a, b;
  };
  std::vector<Block> blocks;
  for (size_t a = 0; a < sparsity.norms.size(); ++a)
    for (size_t b = a; b < sparsity.norms[a].size(); ++b)
      if (std::isfinite(sparsity.norms[a][b].value)) blocks.push_back({a, b});
  auto value = [&](const Block& block) { return sparsity.norms[block.a][block.b].value; };
  std::stable_sort(blocks.begin(), blocks.end(),
                   [&](const Block& x, const Block& y) { return value(x) > value(y); });
  TextTable table({"layer", "with", "norm_F of the block"});
  for (size_t i = 0; i < std::min(most, blocks.size()); ++i) {
    auto [a, b] = blocks[i];
    table.add({sparsity.layers[a].name, a == b ? "itself" : sparsity.layers[b].name,
               words_of(sparsity.norms[a][b])});
  }
  std::string out = blocks.empty() ? "" : table.str();
  if (blocks.size() > most)
    out += fmt::format("  {} smaller blocks are in result.json and report.html.\n",
                       format_count(static_cast<int64_t>(blocks.size() - most)));
  return out;
}

// Up to where this share of the eigenvalues lies: from the grid's point before which the distribution, at the
// most, comes to it, up to the one at which it does at the least.
std::string quantile_words(const DensityRecord& density, double share) {
  auto reached = [&](const std::vector<double>& cumulative) {
    auto found = std::lower_bound(cumulative.begin(), cumulative.end(), share);
    return std::min<size_t>(found - cumulative.begin(), density.grid.size() - 1);
  };
  size_t first = reached(density.cumulative_high);
  return words_of(IntervalRecord{density.grid[reached(density.cumulative)],
                                 density.grid[first > 0 ? first - 1 : 0],
                                 density.grid[reached(density.cumulative_low)]});
}

}  // namespace

IntervalRecord record_of(const Measured& x) {
  return {x.value, x.low, x.high};
}

std::string words_of(const IntervalRecord& x) {
  if (!std::isfinite(x.value)) return "unknown";
  std::string value = format_number(x.value), low = format_number(x.low), high = format_number(x.high);
  if (!std::isfinite(x.low) || !std::isfinite(x.high)) return value + " (interval unknown)";
  return low == high ? value : fmt::format("{} ({} to {})", value, low, high);
}

std::string to_text(const RankRecord& rank) {
  std::string out = fmt::format("  rank: {} eigenvalues beyond {} of the largest in magnitude",
                                count_words(rank.numerical), format_number(rank.numerical.threshold));
  out += rank.upper_bound ? fmt::format(", at most {} by theory\n", format_count(*rank.upper_bound)) : "\n";
  out += fmt::format("  stable rank {}, effective rank {}, participation ratio {}\n", words_of(rank.stable),
                     words_of(rank.effective), words_of(rank.participation));
  IntervalRecord percent{100 * rank.dominance.value, 100 * rank.dominance.low, 100 * rank.dominance.high};
  const char* verdict = rank.rank_one == "yes"  ? "The matrix is of rank one to 1 %"
                        : rank.rank_one == "no" ? "The matrix is not of rank one"
                                                : "Whether the matrix is of rank one cannot be told";
  out += fmt::format("  {}: its largest eigenvalue's share of norm_F^2 in percent is {}.\n", verdict,
                     words_of(percent));
  out += fmt::format("  {}{}.\n", rank.exact ? "" : "95 % intervals, from ", rank.how);
  return out + layers_table(rank);
}

std::string to_text(const SparsityRecord& sparsity) {
  std::string out = fmt::format("  sparsity: {}\n", sparsity.words);
  out += largest_blocks(sparsity);
  out += fmt::format("  Share of entries at most {} (the scale, {}, times {}): {}, from {} columns.\n",
                     number_or_unknown(sparsity.threshold * sparsity.scale),
                     number_or_unknown(sparsity.scale), format_number(sparsity.threshold),
                     words_of(sparsity.negligible), format_count(sparsity.columns));
  std::string scale = number_or_unknown(sparsity.scale), largest = number_or_unknown(sparsity.largest_high);
  out += scale == largest && scale != "unknown"
             ? "  The largest entry is the scale"
             : fmt::format("  The largest entry is between the scale and {}", largest);
  if (sparsity.miss_probability > 0)
    out += fmt::format(", but for a probability of {}", sparsity.miss_probability < 1
                                                            ? format_number(sparsity.miss_probability)
                                                            : "unknown size");
  return out + fmt::format(".\n  {}{}.\n", sparsity.exact ? "" : "95 % intervals, from ", sparsity.how);
}

std::string to_text(const LowRankRecord& low_rank) {
  std::string out = fmt::format("  low rank: norm_F {}; the smallest rank for an error of {} of that\n",
                                words_of(low_rank.frobenius), format_number(low_rank.wanted));
  TextTable table({"method", "rank", "up to rank", "error there"});
  for (const auto& method : low_rank.methods) {
    if (method.error.empty())
      table.add({method.name, "unknown", "-", method.note});
    else
      table.add({method.name, method.words, std::to_string(method.error.size() - 1),
                 words_of(method.error.back())});
  }
  out += table.str();
  return out + fmt::format("  {}{}.\n", low_rank.exact ? "" : "95 % intervals, from ", low_rank.how);
}

std::string to_text(const DensityRecord& density) {
  if (density.grid.empty()) return "  density: unknown\n";
  return fmt::format("  density: half of the eigenvalues in {} to {}, 90 % in {} to {}; smoothed to {}, {}\n",
                     quantile_words(density, 0.25), quantile_words(density, 0.75),
                     quantile_words(density, 0.05), quantile_words(density, 0.95),
                     format_number(density.width), density.how);
}

std::string to_text(const std::string& matrix, const SpectrumRecord& spectrum) {
  std::string title = find_matrix(matrix).title;
  title.front() = static_cast<char>(std::toupper(title.front()));
  std::string out = fmt::format("\n{} ({} products)\n", title, format_count(spectrum.products));
  if (!spectrum.note.empty()) out += "  " + spectrum.note + "\n";
  out += eigenvalues_table(spectrum) + curvature_meaning(spectrum) + trace_text(spectrum);
  if (spectrum.rank) out += to_text(*spectrum.rank);
  if (spectrum.density) out += to_text(*spectrum.density);
  if (spectrum.sparsity) out += to_text(*spectrum.sparsity);
  if (spectrum.low_rank) out += to_text(*spectrum.low_rank);
  if (spectrum.alignment) out += to_text(*spectrum.alignment);
  if (spectrum.slices) out += to_text(*spectrum.slices);
  if (spectrum.sampling_error) out += to_text(*spectrum.sampling_error);
  if (!spectrum.converged && !spectrum.stop.empty())
    out += fmt::format("  Not converged: {}\n", spectrum.stop);
  return out;
}

}  // namespace osculant
