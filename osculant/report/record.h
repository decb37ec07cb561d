#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "osculant/base/text.h"

namespace osculant {

// result.json as the report reads it. A field that is absent or null is a number that is not known.
using Record = nlohmann::ordered_json;

inline double number(const Record& record, const char* field) {
  auto found = record.find(field);
  return found != record.end() && found->is_number() ? found->get<double>() : std::nan("");
}

inline std::string text(const Record& record, const char* field) {
  auto found = record.find(field);
  return found != record.end() && found->is_string() ? found->get<std::string>() : "";
}

// The part called `field`; an empty object where there is none.
inline const Record& part(const Record& record, const char* field) {
  static const Record none = Record::object();
  auto found = record.find(field);
  return found != record.end() && !found->is_null() ? *found : none;
}

inline std::string shown(double value) {
  return std::isnan(value) ? "unknown" : format_number(value);
}

inline std::string shown(const Record& record, const char* field) {
  return shown(number(record, field));
}

// The nearest whole number; a file may say 1e300.
inline int64_t whole(double value) {
  constexpr double most = 9e18;
  return std::isnan(value) ? 0 : static_cast<int64_t>(std::round(std::clamp(value, -most, most)));
}

inline std::string shown_count(const Record& record, const char* field) {
  double value = number(record, field);
  return std::isnan(value) ? "unknown" : format_count(whole(value));
}

inline std::vector<double> numbers(const Record& record, const char* field) {
  std::vector<double> values;
  for (const auto& value : part(record, field))
    values.push_back(value.is_number() ? value.get<double>() : std::nan(""));
  return values;
}

// {"value", "low", "high"} in words.
inline std::string interval(const Record& value) {
  double low = number(value, "low"), high = number(value, "high");
  if (std::isnan(number(value, "value"))) return "unknown";
  if (low == high) return shown(low) + ", exact";
  return shown(value, "value") + " (" + shown(low) + " to " + shown(high) + ")";
}

// Of numbers of eigenvalues: whole.
inline std::string count_interval(const Record& value) {
  double low = number(value, "low"), high = number(value, "high"), middle = number(value, "value");
  if (std::isnan(middle) || std::isnan(low) || std::isnan(high)) return "unknown";
  auto whole = [](double count) { return format_count(osculant::whole(count)); };
  if (low == high) return whole(low) + ", exact";
  return whole(middle) + " (" + whole(low) + " to " + whole(high) + ")";
}

}  // namespace osculant
