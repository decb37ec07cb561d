#include "osculant/optim/target.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <limits>

#include "osculant/base/error.h"
#include "osculant/base/text.h"

namespace osculant {

namespace {

std::string trimmed(std::string_view text) {
  auto begin = text.find_first_not_of(" \t"), end = text.find_last_not_of(" \t");
  return begin == std::string_view::npos ? "" : std::string(text.substr(begin, end - begin + 1));
}

bool rises(std::string_view metric) {
  return metric.find("accuracy") != std::string_view::npos;
}

}  // namespace

Target Target::parse(const std::string& text) {
  auto refuse = [&] {
    fail_option("target", fmt::format("\"{}\"", text),
                "a metric, a comparison and a number, such as loss<=1e-4");
  };
  auto at = text.find_first_of("<>=");
  if (at == std::string::npos) refuse();
  size_t length = text.find_first_not_of("<>=", at) - at;
  Target target;
  target.metric_ = trimmed(std::string_view(text).substr(0, at));
  target.comparison_ = text.substr(at, length);
  std::string number = at + length < text.size() ? trimmed(std::string_view(text).substr(at + length)) : "";
  auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), target.bound_);
  bool is_number = error == std::errc() && end == number.data() + number.size() && !std::isnan(target.bound_);
  if (target.comparison_ == "=" || target.comparison_ == "==")
    target.comparison_ = rises(target.metric_) ? ">=" : "<=";
  const auto& c = target.comparison_;
  bool known = c == "<=" || c == "<" || c == ">=" || c == ">";
  if (target.metric_.empty() || !is_number || !known) refuse();
  return target;
}

bool Target::reached(double value) const {
  if (comparison_ == "<=") return value <= bound_;
  if (comparison_ == "<") return value < bound_;
  if (comparison_ == ">=") return value >= bound_;
  return value > bound_;
}

bool Target::higher_is_better() const {
  return comparison_.front() == '>';
}

std::string Target::str() const {
  return fmt::format("{} {} {}", metric_, comparison_, bound_);
}

void Target::require_among(const std::vector<Metric>& metrics) const {
  std::vector<std::string> names;
  for (const auto& m : metrics) {
    if (m.name == metric_) return;
    names.push_back(m.name);
  }
  std::string known;
  for (const auto& name : names) known += (known.empty() ? "" : ", ") + name;
  fail_usage(fmt::format("target = \"{}\": no metric is called {}{}; known: {}", str(), metric_,
                         did_you_mean(metric_, names), known));
}

double Target::value_in(const std::vector<Metric>& metrics) const {
  for (const auto& m : metrics)
    if (m.name == metric_) return m.value;
  return std::numeric_limits<double>::quiet_NaN();
}

}  // namespace osculant
