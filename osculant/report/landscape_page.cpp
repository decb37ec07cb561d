#include "osculant/report/landscape_page.h"

#include <fmt/format.h>

#include <cmath>

#include "osculant/report/chart.h"

namespace osculant {
namespace {

// The widest span of outermost eigenvectors whose share of the gradient is known: its place, or -1.
int last_known(const Record& shares) {
  int last = -1, place = 0;
  for (const auto& share : shares) {
    if (!std::isnan(number(share, "low"))) last = place;
    ++place;
  }
  return last;
}

void add_alignment_words(std::vector<std::string>& words, const std::string& name, const Record& alignment) {
  const Record& shares = part(part(alignment, "largest"), "shares");
  int known = last_known(shares);
  if (known < 0) return;
  const Record& share = shares[known];
  auto low = fmt::format("{:.3g}", 100 * number(share, "low"));
  auto high = fmt::format("{:.3g}", 100 * number(share, "high"));
  words.push_back(fmt::format(
      "Of the gradient's squared norm {} % lie in the span of the {} of the {}.",
      low == high ? low : low + " to " + high,
      known == 0 ? "leading eigenvector" : fmt::format("{} leading eigenvectors", known + 1), name));
}

void add_sampling_words(std::vector<std::string>& words, const std::string& name, const Record& sampling) {
  const Record &largest = part(sampling, "largest"), &population = part(largest, "population");
  if (std::isnan(number(population, "low"))) return;
  words.push_back(
      fmt::format("Estimated from parts of the examples: with more data of the same kind the largest "
                  "eigenvalue of the {}, {} on these {}, would lie between {} and {} (95 %).",
                  name, shown(largest, "value"), shown_count(sampling, "examples"), shown(population, "low"),
                  shown(population, "high")));
}

Section alignment_section(const std::string& matrix, const std::string& name, const Record& alignment) {
  Section section{"alignment-" + matrix, "The gradient among the eigenvectors of the " + name, ""};
  HtmlTable table("Cosine with each eigenvector, and share of the squared norm in the span of those so far",
                  {"eigenvector", "cosine", "share"});
  for (const char* end : {"largest", "smallest"}) {
    const Record &cosines = part(part(alignment, end), "cosines"),
                 &shares = part(part(alignment, end), "shares");
    for (size_t i = 0; i < cosines.size() && i < shares.size(); ++i)
      table.add({fmt::format("{} {}", end, i + 1), interval(cosines[i]), interval(shares[i])});
  }
  if (!table.empty()) section.body += table.str();
  double missed = number(alignment, "miss_probability");
  section.body += paragraph(
      "Intervals hold for the eigenvectors themselves: residuals and gaps bound the angle to those found "
      "(Davis & Kahan 1970). Unknown where no gap is known, as for the innermost. " +
      (missed > 0 && missed < 1
           ? fmt::format("With probability at most {} they are wrong, an eigenvalue having been missed.",
                         shown(missed))
           : std::string()));
  HtmlTable along("Curvature along single directions", {"direction", "d'Ad / d'd", "rounding"});
  for (const char* direction : {"gradient", "random"})
    along.add({direction, shown(part(alignment, direction), "curvature"),
               shown(part(alignment, direction), "rounding")});
  section.body += along.str();
  return section;
}

std::string line_figure(const std::string& matrix, const Record& line, size_t place) {
  std::string direction = text(line, "direction");
  Chart chart{
      .id = fmt::format("slice-{}-{}", matrix, place),
      .title = "Along an eigenvector: " + direction,
      .caption = fmt::format(
          "The objective, exact but for rounding, and dashed the quadratic model with slope {} and "
          "curvature {}. They agree to 10 % of the change up to a step of {}, as far as the grid sees.",
          shown(line, "slope"), shown(line, "curvature"), shown(line, "reach")),
      .x = {{"step along the unit eigenvector"}},
      .y = {"objective"}};
  chart.series = {{.name = "objective", .x = {numbers(line, "steps")}, .y = numbers(line, "values")},
                  {.name = "quadratic model",
                   .x = {numbers(line, "steps")},
                   .y = numbers(line, "model"),
                   .dashed = true,
                   .colour = 1}};
  return figure(chart);
}

// Five rows of the plane, from one edge to the other.
std::string plane_figure(const std::string& matrix, const Record& plane, size_t place) {
  std::vector<double> steps = numbers(plane, "steps");
  const Record& values = part(plane, "values");
  std::string normalization = text(plane, "normalization");
  Chart chart{.id = fmt::format("plane-{}-{}", matrix, place),
              .title = fmt::format("Over a random plane, seed {}", shown_count(plane, "seed")),
              .caption = fmt::format(
                  "The objective along the first of two random directions, a line for each step along the "
                  "second. The directions are {}.",
                  normalization == "none"
                      ? "orthonormal"
                      : fmt::format("normalised by {}: not orthonormal, a step of 1 is as long as the "
                                    "network's own weights (Li et al. 2018)",
                                    normalization)),
              .x = {{"step along the first direction"}},
              .y = {"objective"}};
  size_t n = steps.size();
  if (n < 2 || values.size() != n) return "";
  for (size_t k = 0; k < 5; ++k) {
    size_t j = k * (n - 1) / 4;
    ChartSeries series{.name = "second step " + shown(steps[j]), .x = {steps}, .colour = static_cast<int>(k)};
    for (const auto& row : values)
      series.y.push_back(row.size() == n && row[j].is_number() ? row[j].get<double>() : std::nan(""));
    chart.series.push_back(std::move(series));
  }
  return figure(chart);
}

Section slices_section(const std::string& matrix, const std::string& name, const Record& slices) {
  Section section{"slices-" + matrix, "Slices of the objective, with the model of the " + name, ""};
  size_t place = 0;
  for (const auto& line : part(slices, "lines")) section.body += line_figure(matrix, line, place++);
  for (const auto& plane : part(slices, "planes")) section.body += plane_figure(matrix, plane, place++);
  return section;
}

Section sampling_section(const std::string& matrix, const std::string& name, const Record& sampling) {
  Section section{"sampling-" + matrix, "What of the " + name + " is due to the examples at hand", ""};
  HtmlTable table("Estimates from 2, 4 and 8 disjoint parts of the examples",
                  {"", "on all examples", "within", "deviation", "bias", "population, 95 %"});
  for (const char* which : {"largest", "smallest", "trace"}) {
    const Record& found = part(sampling, which);
    table.add({which, shown(found, "value"), shown(found, "error"), shown(found, "deviation"),
               interval(part(found, "bias")), interval(part(found, "population"))});
  }
  section.body = table.str();
  const Record& largest = part(sampling, "largest");
  Chart chart{.id = "sampling-chart-" + matrix,
              .title = "Largest eigenvalue on parts of the examples",
              .caption =
                  "The mean over parts, with the deviation from part to part as error bars, on a log "
                  "scale of size. That it falls as parts grow is bias: the largest eigenvalue of few "
                  "examples is too large.",
              .x = {{"examples in a part", true}},
              .y = {"largest eigenvalue"}};
  ChartSeries series{.name = "mean over parts", .x = {{}}};
  double examples = number(sampling, "examples");
  const Record& sizes = part(largest, "sizes");
  for (auto size = sizes.rbegin(); size != sizes.rend(); ++size) {
    double mean = number(*size, "mean"), deviation = number(*size, "deviation");
    series.x[0].push_back(examples / number(*size, "parts"));
    series.y.push_back(mean);
    series.low.push_back(mean - deviation);
    series.high.push_back(mean + deviation);
  }
  double value = number(largest, "value"), deviation = number(largest, "deviation");
  series.x[0].push_back(examples);
  series.y.push_back(value);
  series.low.push_back(value - deviation);
  series.high.push_back(value + deviation);
  chart.series.push_back(std::move(series));
  section.body += figure(chart);
  section.body += paragraph(
      "Deviation: that of the value over data sets of this size, from the spread of the parts. Bias: what "
      "the "
      "value is expected to exceed the population's by, between the laws 1 / size (an eigenvalue that lies "
      "apart) and 1 / sqrt(size) (none). The population's value is an estimate.");
  return section;
}

}  // namespace

void add_landscape_words(std::vector<std::string>& words, const std::string& name, const Record& spectrum) {
  if (const Record& found = part(spectrum, "alignment"); !found.empty())
    add_alignment_words(words, name, found);
  if (const Record& found = part(spectrum, "sampling_error"); !found.empty())
    add_sampling_words(words, name, found);
}

void add_landscape_sections(std::vector<Section>& sections, const std::string& matrix,
                            const std::string& name, const Record& spectrum) {
  if (const Record& found = part(spectrum, "alignment"); !found.empty())
    sections.push_back(alignment_section(matrix, name, found));
  if (const Record& found = part(spectrum, "slices"); !found.empty())
    sections.push_back(slices_section(matrix, name, found));
  if (const Record& found = part(spectrum, "sampling_error"); !found.empty())
    sections.push_back(sampling_section(matrix, name, found));
}

}  // namespace osculant
