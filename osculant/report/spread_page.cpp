#include "osculant/report/spread_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "osculant/report/chart.h"

namespace osculant {
namespace {

// Of each layer's own block.
std::string layers_table(const Record& rank) {
  const Record& layers = part(rank, "layers");
  if (layers.empty()) return "";
  HtmlTable table(
      "Rank of each layer's own block, with 95 % intervals; eigenvalues count that exceed the "
      "threshold times the block's largest",
      {"layer", "parameters", "numerical", "at most", "stable", "participation", "rank one"});
  for (const auto& layer : layers)
    table.add(
        {text(layer, "name"), shown_count(layer, "parameters"), count_interval(part(layer, "numerical")),
         std::isnan(number(layer, "upper_bound")) ? "-" : shown_count(layer, "upper_bound"),
         interval(part(layer, "stable")), interval(part(layer, "participation")), text(layer, "rank_one")});
  return table.str();
}

Section rank_section(const std::string& matrix, const std::string& name, const Record& spectrum) {
  const Record& rank = part(spectrum, "rank");
  Section section{"rank-" + matrix, "Rank of the " + name, ""};
  HtmlTable table("With 95 % intervals", {"rank", "what it counts", "value"}, 2);
  table.add({"numerical",
             fmt::format("eigenvalues beyond {} of the largest in size",
                         shown(part(rank, "numerical"), "threshold")),
             count_interval(part(rank, "numerical"))});
  table.add({"stable", "squared Frobenius norm over squared spectral norm", interval(part(rank, "stable"))});
  table.add({"effective", "exp of the entropy of the eigenvalues' sizes", interval(part(rank, "effective"))});
  table.add({"participation", "participation ratio of the eigenvalues' sizes",
             interval(part(rank, "participation"))});
  if (double bound = number(rank, "upper_bound"); !std::isnan(bound))
    table.add({"at most", "what the number of examples and outputs allows", shown(bound)});
  table.add({"rank one", "whether the largest eigenvalue carries 99 % of the squared norm",
             text(rank, "rank_one")});
  section.body = table.str();
  if (std::string how = text(rank, "how"); !how.empty()) section.body += paragraph(how);
  section.body += layers_table(rank);
  return section;
}

Section density_section(const std::string& matrix, const std::string& name, const Record& density) {
  Section section{"density-" + matrix, "Density of the " + name + "'s eigenvalues", ""};
  Chart chart{.id = "density-chart-" + matrix,
              .title = "Spectral density",
              .caption = fmt::format(
                  "Share of the {}'s eigenvalues per unit of eigenvalue, on a log scale, smoothed to a "
                  "width of {}; dashed, the 95 % interval of each point.",
                  name, shown(density, "width")),
              .x = {{"eigenvalue"}},
              .y = {"density", true}};
  // Far from all eigenvalues the kernel's tails go down to nothing at all, and would fill the axis.
  double floor = 0;
  for (double y : numbers(density, "density")) floor = std::max(floor, 1e-9 * y);
  auto add = [&](const char* field, const char* words, bool dashed) {
    ChartSeries series{
        .name = words, .x = {numbers(density, "grid")}, .y = numbers(density, field), .dashed = dashed};
    for (double& y : series.y)
      if (y < floor) y = std::nan("");
    if (series.y.empty() || series.x[0].size() != series.y.size()) return;
    thin(series, 400);
    chart.series.push_back(std::move(series));
  };
  add("density", "density", false);
  add("low", "lower end", true);
  add("high", "upper end", true);
  if (!chart.series.empty()) section.body = figure(chart);
  if (double error = number(density, "wasserstein_error"); !std::isnan(error))
    section.body +=
        paragraph(fmt::format("The distribution is known to {} in the Wasserstein distance: so far, on "
                              "average, an eigenvalue may lie from where "
                              "it is drawn.",
                              shown(error)));
  if (std::string how = text(density, "how"); !how.empty()) section.body += paragraph(how);
  return section;
}

}  // namespace

void add_rank_words(std::vector<std::string>& words, const std::string& name, const Record& spectrum) {
  const Record& rank = part(spectrum, "rank");
  if (rank.empty()) return;
  const Record& numerical = part(rank, "numerical");
  words.push_back(fmt::format(
      "The {} has {} eigenvalues beyond {} of the largest in size; by its squared norm it is like a "
      "matrix of rank {}.",
      name, count_interval(numerical), shown(numerical, "threshold"), interval(part(rank, "stable"))));
  if (text(rank, "rank_one") == "yes")
    words.push_back(
        fmt::format("The {} is of rank one for all practical purposes: one direction carries 99 % of its "
                    "squared norm.",
                    name));
}

void add_spread_sections(std::vector<Section>& sections, const std::string& matrix, const std::string& name,
                         const Record& spectrum) {
  if (!part(spectrum, "rank").empty()) sections.push_back(rank_section(matrix, name, spectrum));
  const Record& density = part(spectrum, "density");
  if (!density.empty()) sections.push_back(density_section(matrix, name, density));
}

}  // namespace osculant
