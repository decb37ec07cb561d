#include "osculant/report/chart.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "osculant/base/text.h"
#include "osculant/report/html.h"

namespace osculant {
namespace {

using Json = nlohmann::ordered_json;

// What is not finite becomes null, which leaves a gap.
Json axis_json(const ChartAxis& axis) {
  return {{"title", axis.title}, {"log", axis.logarithmic}};
}

Json chart_json(const Chart& chart) {
  Json record{{"kind", chart.kind == Chart::Kind::bars ? "bars" : "points"}, {"title", chart.title}};
  record["x"] = Json::array();
  for (const auto& axis : chart.x) record["x"].push_back(axis_json(axis));
  record["y"] = axis_json(chart.y);
  record["labels"] = chart.labels;
  record["series"] = Json::array();
  for (const auto& series : chart.series)
    record["series"].push_back({{"name", series.name},
                                {"x", series.x},
                                {"y", series.y},
                                {"low", series.low},
                                {"high", series.high},
                                {"line", series.line},
                                {"dashed", series.dashed},
                                {"colour", series.colour}});
  return record;
}

std::string with_bounds(const ChartSeries& series, size_t i) {
  std::string text = format_number(series.y[i]);
  if (!series.low.empty())
    text += " (" + format_number(series.low[i]) + " to " + format_number(series.high[i]) + ")";
  return text;
}

std::string bar_table(const Chart& chart) {
  std::vector<std::string> header{""};
  for (const auto& series : chart.series) header.push_back(series.name);
  HtmlTable table(chart.title, header);
  for (size_t i = 0; i < chart.labels.size(); ++i) {
    std::vector<std::string> row{chart.labels[i]};
    for (const auto& series : chart.series) row.push_back(with_bounds(series, i));
    table.add(row);
  }
  return table.str();
}

// A table of a thousand points helps nobody: long curves are told at sixteen places.
std::string point_table(const Chart& chart) {
  constexpr size_t most = 16;
  std::vector<std::string> header{"series"};
  for (const auto& axis : chart.x) header.push_back(axis.title);
  header.push_back(chart.y.title);
  HtmlTable table(chart.title, header);
  for (const auto& series : chart.series) {
    size_t count = series.y.size(), rows = std::min(count, most);
    for (size_t row = 0; row < rows; ++row) {
      size_t i = rows == 1 ? 0 : row * (count - 1) / (rows - 1);
      std::vector<std::string> cells{series.name};
      for (const auto& x : series.x) cells.push_back(format_number(x[i]));
      cells.push_back(with_bounds(series, i));
      table.add(cells);
    }
  }
  return table.str();
}

std::string axis_choice(const Chart& chart) {
  if (chart.x.size() < 2) return "";
  std::string out = "<label class=\"choice\">Against <select data-for=\"" + chart.id + "\">";
  for (size_t i = 0; i < chart.x.size(); ++i)
    out += "<option value=\"" + std::to_string(i) + "\">" + escape_html(chart.x[i].title) + "</option>";
  return out + "</select></label>\n";
}

}  // namespace

std::string figure(const Chart& chart) {
  std::string data = chart_json(chart).dump(-1, ' ', false, Json::error_handler_t::replace);
  return "<figure>\n<h3>" + escape_html(chart.title) + "</h3>\n" + axis_choice(chart) +
         "<div class=\"chart\"><canvas id=\"" + chart.id + "\" role=\"img\" aria-label=\"" +
         escape_html(chart.caption) + "\"></canvas></div>\n<figcaption>" + escape_html(chart.caption) +
         "</figcaption>\n<details><summary>The numbers</summary>\n" +
         (chart.kind == Chart::Kind::bars ? bar_table(chart) : point_table(chart)) +
         "</details>\n<script type=\"application/json\" class=\"chart-data\" data-for=\"" + chart.id + "\">" +
         escape_script_json(data) + "</script>\n</figure>\n";
}

void thin(ChartSeries& series, size_t points) {
  size_t count = series.y.size();
  if (count <= points) return;
  std::vector<size_t> kept{0};
  size_t buckets = points / 2;
  for (size_t bucket = 0; bucket < buckets; ++bucket) {
    size_t begin = bucket * count / buckets, end = (bucket + 1) * count / buckets;
    auto first = series.y.begin();
    auto [low, high] = std::minmax_element(first + begin, first + end);
    kept.push_back(std::min(low, high) - first);
    kept.push_back(std::max(low, high) - first);
  }
  kept.push_back(count - 1);
  kept.erase(std::unique(kept.begin(), kept.end()), kept.end());
  auto pick = [&](std::vector<double>& values) {
    if (values.empty()) return;
    std::vector<double> left;
    for (size_t i : kept) left.push_back(values[i]);
    values = std::move(left);
  };
  for (auto& x : series.x) pick(x);
  pick(series.y);
  pick(series.low);
  pick(series.high);
}

}  // namespace osculant
