#include "osculant/report/through_page.h"

#include <cmath>

#include "osculant/report/chart.h"

namespace osculant {
namespace {

ChartSeries end_series(const Record& points, const char* end, const char* name, int colour) {
  ChartSeries series{.name = name, .x = {{}}, .colour = colour};
  for (const auto& point : points) {
    const Record& found = part(point, end);
    if (found.empty()) continue;
    double value = number(found.front(), "value"), distance = number(found.front(), "distance");
    series.x[0].push_back(number(point, "step"));
    series.y.push_back(value);
    series.low.push_back(value - distance);
    series.high.push_back(value + distance);
  }
  return series;
}

ChartSeries limit_series(const Record& points, double limit) {
  double first = number(points.front(), "step"), last = number(points.back(), "step");
  return {
      .name = "limit of stability", .x = {{first, last}}, .y = {limit, limit}, .dashed = true, .colour = 2};
}

std::string table_of(const Record& points) {
  HtmlTable table(
      "By checkpoint, with bounds and 95 % intervals",
      {"step", "gradient flow", "loss", "gradient norm", "largest", "smallest", "stable rank", "products"},
      2);
  auto first = [](const Record& list) {
    return list.empty() ? std::string("unknown")
                        : shown(list.front(), "value") + " ± " + shown(list.front(), "distance");
  };
  for (const auto& point : points)
    table.add({shown_count(point, "step"), text(point, "gradient_flow"), shown(point, "loss"),
               shown(point, "gradient_norm"), first(part(point, "largest")), first(part(point, "smallest")),
               interval(part(point, "stable_rank")), shown_count(point, "products")});
  return table.str();
}

}  // namespace

void add_through_words(std::vector<std::string>& words, const Record& result) {
  const Record& through = part(result, "through");
  if (!through.empty()) words.push_back(text(through, "words"));
}

void add_through_section(std::vector<Section>& sections, const Record& result) {
  const Record& through = part(result, "through");
  const Record& points = part(through, "points");
  if (points.empty()) return;
  Section section{"through", "Through training", ""};
  Chart chart{
      .id = "through-chart",
      .title = "The ends of the spectrum by step",
      .caption = "The largest and the smallest eigenvalue, each with the bound within which a true one lies.",
      .x = {{"step"}},
      .y = {"eigenvalue"},
      .series = {end_series(points, "largest", "largest", 0), end_series(points, "smallest", "smallest", 1)}};
  double limit = number(through, "stability_limit");
  if (!std::isnan(limit)) {
    chart.series.push_back(limit_series(points, limit));
    chart.caption += " Dashed: " + text(through, "limit_words") + ".";
  }
  section.body = figure(chart) + table_of(points);
  sections.push_back(section);
}

}  // namespace osculant
