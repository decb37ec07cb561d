#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "osculant/base/text.h"
#include "osculant/study/landscape_record.h"

namespace osculant {
namespace {

std::string number_or_unknown(double value) {
  return std::isfinite(value) ? format_number(value) : "unknown";
}

std::string curvature_words(const AlignmentRecord::Direction& direction) {
  return fmt::format("{} (rounding {})", number_or_unknown(direction.curvature),
                     number_or_unknown(direction.rounding));
}

std::string end_table(const AlignmentRecord::End& end, const char* name) {
  if (end.cosines.empty()) return "";
  TextTable table({name, "cosine", "share so far"});
  for (size_t i = 0; i < end.cosines.size(); ++i)
    table.add({std::to_string(i + 1), words_of(end.cosines[i]), words_of(end.shares[i])});
  return table.str();
}

// The least value on a line and where it is, as far as the grid sees.
std::string lowest_words(const SlicesRecord::Line& line) {
  auto least = std::min_element(line.values.begin(), line.values.end());
  if (least == line.values.end() || std::isnan(*least)) return "unknown";
  return fmt::format("{} at {}", format_number(*least),
                     format_number(line.steps[least - line.values.begin()]));
}

void add_row(const SamplingErrorRecord::Number& number, TextTable& table, const char* name) {
  table.add({name, fmt::format("{} +- {}", format_number(number.value), number_or_unknown(number.error)),
             number_or_unknown(number.deviation), words_of(number.bias), words_of(number.population)});
}

}  // namespace

std::string to_text(const AlignmentRecord& alignment) {
  std::string out = fmt::format("  curvature along the gradient {}, along a random direction {}\n",
                                curvature_words(alignment.gradient), curvature_words(alignment.random));
  out += end_table(alignment.largest, "largest") + end_table(alignment.smallest, "smallest");
  if (alignment.largest.cosines.empty() && alignment.smallest.cosines.empty()) return out;
  out += "  Cosine of the gradient with an eigenvector, and its square's share in the span of those so far";
  if (alignment.miss_probability == 0) return out + ".\n";
  return out +
         (alignment.miss_probability < 1
              ? fmt::format("; wrong with a probability of at most {}, where an eigenvalue was missed.\n",
                            format_number(alignment.miss_probability))
              : "; their intervals are unknown.\n");
}

std::string to_text(const SlicesRecord& slices) {
  std::string out;
  if (!slices.lines.empty()) {
    TextTable table({"along", "slope", "curvature", "radius", "model holds to", "least value"});
    for (const auto& line : slices.lines)
      table.add({line.direction, number_or_unknown(line.slope), number_or_unknown(line.curvature),
                 number_or_unknown(line.radius), number_or_unknown(line.reach), lowest_words(line)});
    out += table.str() +
           "  Exact values but for rounding. The model holds to: within 10 % of the change, as far as the "
           "grid sees.\n";
  }
  for (const auto& plane : slices.planes)
    out += fmt::format(
        "  plane of two random directions{}, seed {}: {} x {} values to a radius of {}\n",
        plane.normalization == "none" ? "" : fmt::format(" normalised by {}", plane.normalization),
        plane.seed, plane.steps.size(), plane.steps.size(), number_or_unknown(plane.radius));
  return out;
}

std::string to_text(const SamplingErrorRecord& sampling) {
  TextTable table({"", fmt::format("of {} examples", format_count(sampling.examples)), "deviation", "bias",
                   "of the population"});
  add_row(sampling.largest, table, "largest");
  add_row(sampling.smallest, table, "smallest");
  add_row(sampling.trace, table, "trace");
  return "  Sampling error, estimated from 2, 4 and 8 parts of the examples:\n" + table.str() +
         "  Deviation: over data sets of as many examples. Population: an estimate, 95 % interval.\n";
}

}  // namespace osculant
