#include "osculant/study/verdict.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "osculant/base/text.h"

namespace osculant {
namespace {

constexpr double never = std::numeric_limits<double>::infinity();

bool counts_time(const ComparisonRecord& comparison) {
  return !comparison.budget.ends_with("ge");
}

// Smaller is better.
double badness(const ComparisonRecord& comparison, double value) {
  if (std::isnan(value)) return never;
  return comparison.higher_is_better ? -value : value;
}

double value_of(const ComparisonRecord& comparison, const ContestantRecord& run) {
  auto found = run.final.find(comparison.metric);
  double worst = comparison.higher_is_better ? -never : never;
  bool known = run.status != "failed" && found != run.final.end() && !std::isnan(found->second);
  return known ? found->second : worst;
}

VerdictRecord row_of(const ComparisonRecord& comparison, const std::string& method,
                     const std::string& tuned) {
  VerdictRecord row;
  row.method = method;
  row.tuned = tuned;
  std::vector<double> seconds, equivalents, values;
  for (const auto& run : comparison.runs) {
    if (run.method != method || run.status == "interrupted") continue;
    ++row.runs;
    row.failed += run.status == "failed";
    row.reached += run.reached.value_or(false);
    bool counts = run.reached.value_or(run.status != "failed");
    seconds.push_back(counts ? run.seconds : never);
    equivalents.push_back(counts ? run.gradient_equivalents : never);
    values.push_back(value_of(comparison, run));
  }
  row.seconds = spread(seconds);
  row.gradient_equivalents = spread(equivalents);
  row.value = spread(values);
  return row;
}

const SpreadRecord& spent(const ComparisonRecord& comparison, const VerdictRecord& row) {
  return counts_time(comparison) ? row.seconds : row.gradient_equivalents;
}

bool better(const ComparisonRecord& comparison, const VerdictRecord& a, const VerdictRecord& b) {
  if (!comparison.target.empty()) {
    double mine = spent(comparison, a).median, other = spent(comparison, b).median;
    if (mine != other) return mine < other;
    if (a.reached != b.reached) return a.reached > b.reached;
  }
  return badness(comparison, a.value.median) < badness(comparison, b.value.median);
}

bool overlap(const SpreadRecord& a, const SpreadRecord& b) {
  return a.low <= b.high && b.low <= a.high;
}

std::string amount(bool time, double value) {
  if (std::isinf(value)) return "missed";
  return time ? format_seconds(value) : fmt::format("{} ge", format_number(value));
}

std::string spread_text(const SpreadRecord& s, auto format) {
  if (s.low == s.high) return format(s.median);
  return fmt::format("{} ({} to {})", format(s.median), format(s.low), format(s.high));
}

std::string amount_text(bool time, const SpreadRecord& s) {
  return spread_text(s, [time](double value) { return amount(time, value); });
}

std::string value_text(const SpreadRecord& s) {
  return spread_text(s, [](double value) { return std::isinf(value) ? "failed" : format_number(value); });
}

std::string target_words(const ComparisonRecord& c) {
  const VerdictRecord& first = c.verdict.front();
  bool time = counts_time(c);
  const SpreadRecord& mine = spent(c, first);
  if (first.reached == 0)
    return fmt::format("No method reached {} within {}; the nearest is {}: {} {}.", c.target, c.budget,
                       first.method, c.metric, value_text(first.value));
  if (std::isinf(mine.median))
    return fmt::format("No method reached {} within {} for most seeds; {} did in {} of {}.", c.target,
                       c.budget, first.method, first.reached, first.runs);
  std::string words = fmt::format("{} is first to {}: {}", first.method, c.target, amount_text(time, mine));
  if (c.verdict.size() == 1) return words + ".";
  const VerdictRecord& second = c.verdict[1];
  const SpreadRecord& other = spent(c, second);
  if (std::isinf(other.median)) return fmt::format("{}; the others missed it within {}.", words, c.budget);
  words += fmt::format(", {:.2g} times as fast as {}", other.median / mine.median, second.method);
  return words + (overlap(mine, other) ? "; but their spreads overlap." : ".");
}

std::string value_words(const ComparisonRecord& c) {
  const VerdictRecord& first = c.verdict.front();
  if (first.failed == first.runs) return "Every method failed.";
  std::string words =
      fmt::format("{} ends best after {}: {} {}", first.method, c.budget, c.metric, value_text(first.value));
  if (c.verdict.size() == 1) return words + ".";
  const VerdictRecord& second = c.verdict[1];
  words += fmt::format("; next {}: {}", second.method, value_text(second.value));
  return words + (overlap(first.value, second.value) ? "; but their spreads overlap." : ".");
}

}  // namespace

SpreadRecord spread(std::vector<double> values) {
  if (values.empty()) return {never, never, never};
  for (double& value : values)
    if (std::isnan(value)) value = never;
  std::sort(values.begin(), values.end());
  size_t half = values.size() / 2;
  double median = values.size() % 2 == 1 ? values[half] : 0.5 * values[half - 1] + 0.5 * values[half];
  return {median, values.front(), values.back()};
}

void judge(ComparisonRecord& comparison, const std::map<std::string, std::string>& tuned) {
  comparison.verdict.clear();
  for (const auto& run : comparison.runs) {
    if (run.status == "interrupted") continue;
    auto same = [&](const VerdictRecord& row) { return row.method == run.method; };
    if (std::any_of(comparison.verdict.begin(), comparison.verdict.end(), same)) continue;
    auto words = tuned.find(run.method);
    comparison.verdict.push_back(row_of(comparison, run.method, words == tuned.end() ? "" : words->second));
  }
  std::stable_sort(comparison.verdict.begin(), comparison.verdict.end(),
                   [&](const auto& a, const auto& b) { return better(comparison, a, b); });
  if (!comparison.verdict.empty())
    comparison.words = comparison.target.empty() ? value_words(comparison) : target_words(comparison);
}

std::string to_text(const ComparisonRecord& c) {
  std::string out = fmt::format("\nRace: {} each, {} seeds", c.budget, c.seeds);
  if (!c.target.empty()) out += fmt::format(", target {}", c.target);
  if (!c.trials.empty())
    out += fmt::format("; before it {} tuning trials of {} of that for each", c.tune,
                       format_number(c.tuning_share));
  out += "\n";
  bool target = !c.target.empty();
  std::vector<std::string> header{"method", "tuned"};
  if (target) header.insert(header.end(), {"reached", "time to target", "work to target"});
  header.push_back(c.metric + " at the end");
  if (!target) header.insert(header.end(), {"time", "work"});
  TextTable table(header);
  for (const auto& row : c.verdict) {
    std::vector<std::string> cells{row.method, row.tuned};
    std::string time = amount_text(true, row.seconds), work = amount_text(false, row.gradient_equivalents);
    if (target) cells.insert(cells.end(), {fmt::format("{} of {}", row.reached, row.runs), time, work});
    cells.push_back(value_text(row.value));
    if (!target) cells.insert(cells.end(), {time, work});
    table.add(cells);
  }
  out += table.str();
  out += "  Medians over seeds, with the smallest and the largest.\n";
  for (const auto& run : c.runs)
    if (run.status == "failed")
      out += fmt::format("  {} failed (seed {}): {}\n", run.method, run.seed, run.stop.message);
  return out + c.words + "\n";
}

}  // namespace osculant
