#include "osculant/report/analysis_page.h"

#include <fmt/format.h>

#include <algorithm>

#include "osculant/report/chart.h"
#include "osculant/report/flow_page.h"
#include "osculant/report/landscape_page.h"
#include "osculant/report/spread_page.h"
#include "osculant/report/structure_page.h"
#include "osculant/report/through_page.h"
#include "osculant/study/matrices.h"

namespace osculant {
namespace {

std::string matrix_name(const std::string& matrix) {
  const MatrixKind* kind = matrix_kind(matrix);
  return kind != nullptr ? kind->title : matrix;
}

// --- words
// ---------------------------------------------------------------------------------------------------

std::string size_words(const Record& result) {
  const Record& objective = part(result, "objective");
  return fmt::format(
      "{} trainable parameters in {} layers, {} examples: the objective is {}, the norm of its gradient {}.",
      shown_count(part(result, "model"), "parameters"), part(part(result, "model"), "layers").size(),
      shown_count(part(result, "data"), "examples"), shown(objective, "value"),
      shown(objective, "gradient_norm"));
}

// Gradient descent with a step eta is stable along a direction of curvature l for eta < 2 / l.
void add_extremes(std::vector<std::string>& words, const std::string& matrix, const Record& spectrum) {
  std::string name = matrix_name(matrix);
  const MatrixKind* kind = matrix_kind(matrix);
  const Record &largest = part(spectrum, "largest"), &smallest = part(spectrum, "smallest");
  if (largest.empty()) return;
  double top = number(largest.front(), "value"), residual = number(largest.front(), "residual");
  words.push_back(
      fmt::format("The largest eigenvalue of the {} is {} to within {}.", name, shown(top), shown(residual)));
  if (top > residual && kind != nullptr && kind->models_objective)
    words.back() += fmt::format(" Gradient descent is stable along it for learning rates below {}.",
                                shown(2 / (top + residual)));
  if (smallest.empty() || matrix != "hessian") return;
  double bottom = number(smallest.front(), "value"), bound = number(smallest.front(), "residual");
  if (bottom + bound < 0)
    words.push_back(
        fmt::format("There is negative curvature: an eigenvalue of {} to within {}, {:.2g} % of the largest "
                    "in size. This "
                    "is no minimum, and a plain Newton step climbs along that direction.",
                    shown(bottom), shown(bound), 100 * std::abs(bottom / top)));
  else
    words.push_back(fmt::format(
        "No negative curvature beyond the error of the numbers was found: the smallest eigenvalue "
        "seen is {} to within {}.",
        shown(bottom), shown(bound)));
}

void add_concentration(std::vector<std::string>& words, const std::string& name, const Record& spectrum) {
  const Record &largest = part(spectrum, "largest"), &trace = part(spectrum, "trace");
  double low = number(trace, "low"), high = number(trace, "high"), sum = 0;
  if (largest.size() < 2 || !(low > 0)) return;
  for (const auto& pair : largest) sum += number(pair, "value");
  if (sum <= 0 || sum > high) return;
  words.push_back(fmt::format(
      "The {} largest eigenvalues of the {} found sum to {}; its trace is between {} and {} (95 %), "
      "so they carry {:.0f} to {:.0f} % of it.",
      largest.size(), name, shown(sum), shown(low), shown(high), 100 * sum / high,
      std::min(100., 100 * sum / low)));
}

void add_uncertainty(std::vector<std::string>& words, const std::string& name, const Record& spectrum) {
  if (part(spectrum, "largest").empty()) return;
  double missed = number(spectrum, "miss_probability");
  if (missed == 0)
    words.push_back(fmt::format("The {} was formed whole: none of its eigenvalues can be missing.", name));
  else if (missed < 1)
    words.push_back(
        fmt::format("Uncertain: with probability at most {:.1e} an eigenvalue of the {} further out "
                    "than those listed was missed.",
                    missed, name));
  else
    words.push_back(
        fmt::format("Uncertain: whether an eigenvalue of the {} further out than those listed was "
                    "missed is unknown; more steps or a smaller tolerance would bound it.",
                    name));
  if (const auto& converged = part(spectrum, "converged"); converged.is_boolean() && !converged.get<bool>())
    words.push_back(fmt::format("Not all eigenvalues of the {} reached the accuracy asked for ({}).", name,
                                text(spectrum, "stop")));
}

// --- sections
// ------------------------------------------------------------------------------------------------

void add_pairs(HtmlTable& table, const Record& pairs, const char* end) {
  int place = 0;
  for (const auto& pair : pairs)
    table.add({fmt::format("{} {}", end, ++place), shown(pair, "value"), shown(pair, "residual"),
               shown(pair, "distance")});
}

ChartSeries eigenvalue_series(const Record& pairs, const char* name, int colour) {
  ChartSeries series{.name = name, .x = {{}}, .line = false, .colour = colour};
  for (const auto& pair : pairs) {
    double value = number(pair, "value"), residual = number(pair, "residual");
    series.x[0].push_back(static_cast<double>(series.y.size() + 1));
    series.y.push_back(value);
    series.low.push_back(value - residual);
    series.high.push_back(value + residual);
  }
  return series;
}

Section spectrum_section(const std::string& matrix, const Record& spectrum) {
  std::string name = matrix_name(matrix);
  Section section{"spectrum-" + matrix, "Spectrum of the " + name, ""};
  if (std::string note = text(spectrum, "note"); !note.empty()) section.body += paragraph(note);
  Chart chart{
      .id = "eigenvalues-" + matrix,
      .title = "Eigenvalues at both ends",
      .caption = fmt::format("The largest and the smallest eigenvalues of the {} found, each with the "
                             "bound within which a true eigenvalue is paired with it.",
                             name),
      .x = {{"place from the end"}},
      .y = {"eigenvalue"}};
  for (auto [pairs, words, colour] : {std::tuple(&part(spectrum, "largest"), "largest", 0),
                                      std::tuple(&part(spectrum, "smallest"), "smallest", 1)})
    if (!pairs->empty()) chart.series.push_back(eigenvalue_series(*pairs, words, colour));
  if (!chart.series.empty()) section.body += figure(chart);
  HtmlTable table("Eigenvalues with their bounds", {"", "value", "paired within", "an eigenvalue within"});
  add_pairs(table, part(spectrum, "largest"), "largest");
  add_pairs(table, part(spectrum, "smallest"), "smallest");
  if (!table.empty()) section.body += table.str();
  section.body += paragraph(
      "Paired within: the entries pair one to one with as many different eigenvalues, each within this bound "
      "(Kahan). An eigenvalue within: some eigenvalue lies this near, perhaps the same for two entries.");
  if (const Record& trace = part(spectrum, "trace"); !trace.empty())
    section.body +=
        paragraph(fmt::format("Trace {}, 95 % interval {} to {}, from {} probes.", shown(trace, "value"),
                              shown(trace, "low"), shown(trace, "high"), shown_count(trace, "probes")));
  return section;
}

Section gradient_section(const Record& norms) {
  Section section{"gradient", "Gradient by layer", ""};
  Chart chart{.id = "gradient-norms",
              .title = "Norm of the gradient by layer",
              .caption =
                  "On a log scale, in the order of the parameters: a slope is a gradient that vanishes "
                  "or grows with depth. A layer whose gradient is zero has no bar.",
              .kind = Chart::Kind::bars,
              .y = {"norm", true}};
  ChartSeries series{.name = "norm of the gradient"};
  for (const auto& [layer, norm] : norms.items()) {
    chart.labels.push_back(layer);
    series.y.push_back(norm.is_number() ? norm.get<double>() : std::nan(""));
  }
  chart.series.push_back(series);
  section.body = figure(chart);
  return section;
}

Section certificate_section(const Record& spectra) {
  Section section{"certificates", "How far to trust the numbers", ""};
  HtmlTable table("What is certain, and with which probability",
                  {"matrix", "the eigensolver ended", "tolerance", "probability of a miss",
                   "of a bound that does not hold", "products"},
                  2);
  for (const auto& [matrix, spectrum] : spectra.items()) {
    double missed = number(spectrum, "miss_probability");
    table.add({matrix_name(matrix), text(spectrum, "stop"), shown(spectrum, "tolerance"),
               missed < 1 ? shown(missed) : "unknown", shown(spectrum, "pairing_failure_probability"),
               shown_count(spectrum, "products")});
  }
  section.body = table.str();
  section.body += paragraph(
      "Residuals prove that eigenvalues lie near the values listed; where two random products stand for "
      "them, but for the probability given. They cannot prove that none lies further out: that holds with a "
      "probability, over the random start of Lanczos (Kuczynski & Wozniakowski 1992).");
  return section;
}

}  // namespace

std::vector<std::string> analysis_summary(const Record& result) {
  std::vector<std::string> words;
  if (result.contains("objective")) words.push_back(size_words(result));
  add_through_words(words, result);
  add_flow_words(words, result);
  const Record& spectra = part(result, "spectrum");
  for (const auto& [matrix, spectrum] : spectra.items()) add_extremes(words, matrix, spectrum);
  for (const auto& [matrix, spectrum] : spectra.items())
    add_concentration(words, matrix_name(matrix), spectrum);
  for (const auto& [matrix, spectrum] : spectra.items()) add_rank_words(words, matrix_name(matrix), spectrum);
  for (const auto& [matrix, spectrum] : spectra.items())
    add_landscape_words(words, matrix_name(matrix), spectrum);
  for (const auto& [matrix, spectrum] : spectra.items())
    add_structure_words(words, matrix_name(matrix), spectrum);
  for (const auto& [matrix, spectrum] : spectra.items())
    add_uncertainty(words, matrix_name(matrix), spectrum);
  return words;
}

std::vector<Section> analysis_sections(const Record& result) {
  std::vector<Section> sections;
  add_through_section(sections, result);
  const Record& spectra = part(result, "spectrum");
  for (const auto& [matrix, spectrum] : spectra.items()) {
    sections.push_back(spectrum_section(matrix, spectrum));
    add_spread_sections(sections, matrix, matrix_name(matrix), spectrum);
    add_structure_sections(sections, matrix, matrix_name(matrix), spectrum);
    add_landscape_sections(sections, matrix, matrix_name(matrix), spectrum);
  }
  if (const Record& norms = part(part(result, "objective"), "gradient_norms"); !norms.empty())
    sections.push_back(gradient_section(norms));
  add_flow_section(sections, result);
  if (!spectra.empty()) sections.push_back(certificate_section(spectra));
  return sections;
}

}  // namespace osculant
