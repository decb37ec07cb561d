#include "osculant/optim/options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "osculant/base/error.h"
#include "osculant/base/text.h"

namespace osculant {

namespace {

std::string shown(const OptionValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return fmt::format("\"{}\"", *text);
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  return fmt::format("{}", std::get<double>(value));
}

}  // namespace

void OptionLister::number(const std::string& name, double& field, const char* constraint, const char* doc) {
  options.push_back({name, fmt::format("{}", field), constraint, doc});
}

void OptionLister::number(const std::string& name, std::optional<double>& field, const char* constraint,
                          const char* doc) {
  options.push_back(
      {name, field ? fmt::format("{}", *field) : "auto", std::string(constraint) + ", auto", doc});
}

void OptionLister::integer(const std::string& name, int64_t& field, const char* constraint, const char* doc,
                           const Choices<int64_t>& names) {
  std::string value = std::to_string(field), words;
  for (const auto& [word, number] : names) {
    if (number == field) value = word;
    words += ", " + word;
  }
  options.push_back({name, value, constraint + words, doc});
}

void OptionLister::flag(const std::string& name, bool& field, const char* doc) {
  options.push_back({name, field ? "true" : "false", "true, false", doc});
}

void OptionLister::text(const std::string& name, std::string& field, const char* constraint,
                        const char* doc) {
  options.push_back({name, field, constraint, doc});
}

size_t OptionLister::word(const std::string& name, const std::vector<std::string>& words, size_t chosen,
                          const char* doc) {
  options.push_back({name, words[chosen], fmt::format("{}", fmt::join(words, ", ")), doc});
  return chosen;
}

const OptionValue* OptionReader::find(const std::string& name) {
  known_.push_back(name);
  auto at = values_.find(name);
  return at == values_.end() ? nullptr : &at->second;
}

double OptionReader::number_in(const std::string& name, const OptionValue& value,
                               const std::string& expected) const {
  if (const auto* number = std::get_if<double>(&value)) return *number;
  double number = 0;
  if (const auto* text = std::get_if<std::string>(&value)) {
    auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
    if (error == std::errc() && end == text->data() + text->size()) return number;
  }
  fail_option(name, shown(value), expected);
}

void OptionReader::number(const std::string& name, double& field, const char*, const char*) {
  if (const auto* value = find(name)) field = number_in(name, *value, "a number");
}

void OptionReader::number(const std::string& name, std::optional<double>& field, const char*, const char*) {
  const auto* value = find(name);
  if (!value) return;
  const auto* text = std::get_if<std::string>(value);
  if (text && *text == "auto")
    field.reset();
  else
    field = number_in(name, *value, "a number or auto");
}

void OptionReader::integer(const std::string& name, int64_t& field, const char*, const char*,
                           const Choices<int64_t>& names) {
  const auto* value = find(name);
  if (!value) return;
  std::string expected = "a whole number";
  for (const auto& [word, number] : names) {
    expected += " or " + word;
    const auto* text = std::get_if<std::string>(value);
    if (!text || *text != word) continue;
    field = number;
    return;
  }
  double number = number_in(name, *value, expected);
  if (number != std::floor(number) || std::abs(number) > 9e15) fail_option(name, shown(*value), expected);
  field = static_cast<int64_t>(number);
}

void OptionReader::flag(const std::string& name, bool& field, const char*) {
  const auto* value = find(name);
  if (!value) return;
  const auto* flag = std::get_if<bool>(value);
  const auto* text = std::get_if<std::string>(value);
  if (flag)
    field = *flag;
  else if (text && (*text == "true" || *text == "false"))
    field = *text == "true";
  else
    fail_option(name, shown(*value), "true or false");
}

void OptionReader::text(const std::string& name, std::string& field, const char* constraint, const char*) {
  const auto* value = find(name);
  if (!value) return;
  const auto* text = std::get_if<std::string>(value);
  if (!text || text->empty()) fail_option(name, shown(*value), constraint);
  field = *text;
}

size_t OptionReader::word(const std::string& name, const std::vector<std::string>& words, size_t chosen,
                          const char*) {
  const auto* value = find(name);
  if (!value) return chosen;
  const auto* text = std::get_if<std::string>(value);
  auto at = text ? std::find(words.begin(), words.end(), *text) : words.end();
  if (at == words.end()) fail_option(name, shown(*value), fmt::format("one of {}", fmt::join(words, ", ")));
  return static_cast<size_t>(at - words.begin());
}

void OptionReader::require_all_read() const {
  for (const auto& [name, value] : values_) {
    if (std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
    fail_usage(fmt::format("option {}: {} has none of that name{}; it has {}", name, owner_,
                           did_you_mean(name, known_), fmt::join(known_, ", ")));
  }
}

}  // namespace osculant
