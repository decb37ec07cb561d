#include "osculant/study/tuning.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "osculant/base/error.h"

namespace osculant {
namespace {

// The default as a number; NaN for a word such as "auto".
double default_of(const MethodInfo& method) {
  for (const auto& option : method.options) {
    if (option.name != method.tuned) continue;
    const std::string& text = option.default_value;
    double value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc() && end == text.data() + text.size()) return value;
  }
  return std::nan("");
}

// ..., 0.1, 0.3, 1, 3, 10, ...
double half_decade(int64_t step) {
  bool odd = step % 2 != 0;
  return std::pow(10.0, static_cast<double>((step - odd) / 2)) * (odd ? 3 : 1);
}

// To digits that a person would have written.
double rounded(double value) {
  return std::stod(fmt::format("{:.6g}", value));
}

bool accepts(const MethodInfo& method, OptionMap options, double value) {
  options[method.tuned] = value;
  try {
    method.make(options);
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

std::vector<double> tuning_values(const MethodInfo& method, const OptionMap& given, int64_t trials) {
  std::vector<double> values;
  if (method.tuned.empty() || given.count(method.tuned) > 0) return values;
  double middle = default_of(method);
  bool fine = method.tuned == "learning_rate";
  if (!(middle > 0)) return values;
  // 0, 1, -1, 2, -2, ...: twice as many as are wanted, for values that are refused.
  for (int64_t i = 0; i < 2 * trials && static_cast<int64_t>(values.size()) < trials; ++i) {
    int64_t step = i % 2 == 1 ? (i + 1) / 2 : -(i / 2);
    double value = rounded(middle * (fine ? half_decade(step) : std::pow(10.0, static_cast<double>(step))));
    if (accepts(method, given, value)) values.push_back(value);
  }
  return values;
}

size_t best_trial(const std::vector<ContestantRecord>& trials, const ComparisonRecord& comparison) {
  constexpr double never = std::numeric_limits<double>::infinity();
  bool time = !comparison.budget.ends_with("ge");
  // What is compared first, and second; smaller is better.
  auto rank = [&](const ContestantRecord& trial) {
    if (trial.status == "failed") return std::pair(never, never);
    double spent =
        trial.reached.value_or(false) ? (time ? trial.seconds : trial.gradient_equivalents) : never;
    auto found = trial.final.find(comparison.metric);
    double value = found == trial.final.end() || std::isnan(found->second) ? never
                   : comparison.higher_is_better                           ? -found->second
                                                                           : found->second;
    return std::pair(spent, value);
  };
  auto best = std::min_element(trials.begin(), trials.end(),
                               [&](const auto& a, const auto& b) { return rank(a) < rank(b); });
  return static_cast<size_t>(best - trials.begin());
}

}  // namespace osculant
