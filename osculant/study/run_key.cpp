#include "osculant/study/run_key.h"

#include <sstream>

namespace osculant::run_keys {

namespace {

std::string toml_text(const toml::node& node) {
  std::ostringstream out;
  out << toml::toml_formatter(node, toml::format_flags::none);
  return out.str();
}

}  // namespace

std::string quoted(const std::string& text) {
  return toml_text(toml::value<std::string>(text));
}

std::string shown(const Given& given) {
  return given.shell ? given.raw : toml_text(given.node);
}

std::string number_text(double value) {
  std::string text = fmt::format("{}", value);
  return text.find_first_of(".en") == std::string::npos ? text + ".0" : text;
}

std::string as_text(const Given& given) {
  if (auto text = given.node.value_exact<std::string>()) return *text;
  if (given.shell) return given.raw;
  throw NotMeant{};
}

int64_t as_integer(const toml::node& node) {
  if (auto value = node.value_exact<int64_t>()) return *value;
  throw NotMeant{};
}

double as_number(const toml::node& node) {
  if (auto value = node.value_exact<double>()) return *value;
  if (auto value = node.value_exact<int64_t>()) return static_cast<double>(*value);
  throw NotMeant{};
}

bool as_flag(const toml::node& node) {
  if (auto value = node.value_exact<bool>()) return *value;
  throw NotMeant{};
}

std::vector<std::string> split_at_commas(const std::string& text) {
  std::vector<std::string> parts;
  std::stringstream in(text);
  for (std::string part; std::getline(in, part, ',');) {
    size_t begin = part.find_first_not_of(' ');
    if (begin != std::string::npos)
      parts.push_back(part.substr(begin, part.find_last_not_of(' ') - begin + 1));
  }
  return parts;
}

OptionValue as_option(const Given& given) {
  if (auto value = given.node.value_exact<bool>()) return *value;
  if (auto value = given.node.value_exact<int64_t>()) return static_cast<double>(*value);
  if (auto value = given.node.value_exact<double>()) return *value;
  return as_text(given);
}

std::string option_text(const OptionValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return quoted(*text);
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  return number_text(std::get<double>(value));
}

}  // namespace osculant::run_keys
