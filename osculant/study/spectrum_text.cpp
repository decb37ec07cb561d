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
  out += "  +- is a bound: each entry of a column has an eigenvalue of the matrix of its own within it.\n";
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
  return out + fmt::format("  {}{}.\n", rank.exact ? "" : "95 % intervals, from ", rank.how);
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
  if (spectrum.alignment) out += to_text(*spectrum.alignment);
  if (spectrum.slices) out += to_text(*spectrum.slices);
  if (spectrum.sampling_error) out += to_text(*spectrum.sampling_error);
  if (!spectrum.converged) out += fmt::format("  Not converged: {}\n", spectrum.stop);
  return out;
}

}  // namespace osculant
