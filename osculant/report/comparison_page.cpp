#include "osculant/report/comparison_page.h"

#include <fmt/format.h>

#include <map>

#include "osculant/report/chart.h"

namespace osculant {
namespace {

// "12.3 (11 to 14)"; what was never reached is infinite, and null in the record.
std::string spread(const Record& values, const char* never) {
  double median = number(values, "median"), low = number(values, "low"), high = number(values, "high");
  if (std::isnan(median)) return std::isnan(low) ? never : fmt::format("{} (best {})", never, shown(low));
  return fmt::format("{} ({} to {})", shown(median), shown(low), std::isnan(high) ? never : shown(high));
}

Section verdict_section(const Record& result) {
  Section section{"verdict", "Verdict", ""};
  const Record& race = part(result, "race");
  bool target = !text(race, "target").empty();
  HtmlTable table(
      "Medians over seeds, with the smallest and the largest; best first",
      {"method", "tuned", "reached", "seconds", "gradient equivalents", text(race, "metric") + " at the end"},
      2);
  const char* never = target ? "never" : "failed";
  for (const auto& row : part(part(result, "verdict"), "methods"))
    table.add({text(row, "method"), text(row, "tuned"),
               target ? fmt::format("{} of {}", shown_count(row, "reached"), shown_count(row, "runs")) : "",
               spread(part(row, "seconds"), never), spread(part(row, "gradient_equivalents"), never),
               spread(part(row, "value"), "failed")});
  section.body = table.str();
  section.body += paragraph(fmt::format(
      "Budget of each run: {}. Tuning before: {} trials of each method on {} of the budget. Seeds: {}.",
      text(race, "budget"), shown_count(race, "tune"), shown(race, "tuning_share"),
      shown_count(race, "seeds")));
  return section;
}

ChartSeries trajectory_series(const Record& run, const std::string& metric, int colour, bool first) {
  ChartSeries series{.name = first
                                 ? text(run, "method")
                                 : fmt::format("{}, seed {}", text(run, "method"), shown_count(run, "seed")),
                     .x = {{}, {}, {}},
                     .dashed = !first,
                     .colour = colour};
  for (const auto& point : part(run, "trajectory")) {
    series.x[0].push_back(number(point, "gradient_equivalents"));
    series.x[1].push_back(number(point, "seconds"));
    series.x[2].push_back(number(point, "step"));
    series.y.push_back(number(point, metric.c_str()));
  }
  thin(series, 200);
  return series;
}

std::string race_figure(const Record& result, const std::string& metric) {
  Chart chart{
      .id = metric == "loss" ? "race-loss" : "race-metric",
      .title = metric,
      .caption = fmt::format("{} against work, time and steps: a colour for each method, the first seed "
                             "drawn whole and the others dashed.{}",
                             metric, metric == "loss" ? " On a log scale." : ""),
      .x = {{"gradient equivalents"}, {"seconds"}, {"steps"}},
      .y = {metric, metric == "loss"}};
  std::map<std::string, int> colours;
  for (const auto& run : part(result, "comparison")) {
    auto [found, first] = colours.emplace(text(run, "method"), static_cast<int>(colours.size()));
    ChartSeries series = trajectory_series(run, metric, found->second, first);
    if (!series.y.empty()) chart.series.push_back(std::move(series));
  }
  return chart.series.empty() ? "" : figure(chart);
}

Section trajectory_section(const Record& result) {
  Section section{"race", "The race", race_figure(result, "loss")};
  std::string metric = text(part(result, "race"), "metric");
  if (metric != "loss" && !metric.empty()) section.body += race_figure(result, metric);
  return section;
}

Section run_section(const Record& result) {
  Section section{"runs", "Every run", ""};
  HtmlTable table("Runs of the race",
                  {"method", "ended", "seed", "steps", "seconds", "gradient equivalents", "loss"}, 2);
  for (const auto& run : part(result, "comparison"))
    table.add({text(run, "method"), text(part(run, "stop"), "message"), shown_count(run, "seed"),
               shown_count(run, "steps"), shown(run, "seconds"), shown(run, "gradient_equivalents"),
               shown(part(run, "final"), "loss")});
  section.body = table.str();
  return section;
}

}  // namespace

std::vector<std::string> comparison_summary(const Record& result) {
  std::vector<std::string> words{text(part(result, "verdict"), "words")};
  const Record& rows = part(part(result, "verdict"), "methods");
  bool target = !text(part(result, "race"), "target").empty();
  if (rows.size() > 1) {
    const char* field = target ? "gradient_equivalents" : "value";
    double best_high = number(part(rows[0], field), "high"), next_low = number(part(rows[1], field), "low");
    // A spread that has no end was missed by a seed, and overlaps with whatever comes next.
    if (!std::isnan(next_low) && !(best_high < next_low))
      words.push_back(
          fmt::format("Uncertain: over these seeds the ranges of {} and {} overlap, so their order is "
                      "not settled; more seeds would settle it.",
                      text(rows[0], "method"), text(rows[1], "method")));
  }
  words.push_back(fmt::format("{} examples, {} parameters.", shown_count(part(result, "data"), "examples"),
                              shown_count(part(result, "model"), "parameters")));
  return words;
}

std::vector<Section> comparison_sections(const Record& result) {
  std::vector<Section> sections;
  for (Section section : {verdict_section(result), trajectory_section(result), run_section(result)})
    if (!section.body.empty()) sections.push_back(std::move(section));
  return sections;
}

}  // namespace osculant
