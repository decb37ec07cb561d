#include "osculant/model/exported_json.h"

#include <fmt/format.h>

#include <limits>

#include "osculant/base/error.h"

namespace osculant::exported {
namespace {

constexpr int max_nesting = 256;

int nesting(const std::string& text) {
  int depth = 0, deepest = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      deepest = std::max(deepest, ++depth);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return deepest;
}

[[noreturn]] void expected(const std::string& where, const char* what) {
  fail_data(fmt::format("{}: must be {}", where, what));
}

}  // namespace

json parse_json(const std::string& text, const std::string& where) {
  if (nesting(text) > max_nesting) fail_data(fmt::format("{}: nested deeper than {}", where, max_nesting));
  try {
    return json::parse(text);
  } catch (const json::exception& error) {
    fail_data(fmt::format("{}: not JSON: {}", where, error.what()));
  }
}

const json& member(const json& object, const char* key, const std::string& where) {
  if (!object.is_object()) expected(where, "an object");
  auto at = object.find(key);
  if (at == object.end()) fail_data(fmt::format("{}: has no \"{}\"", where, key));
  return *at;
}

const json& array_member(const json& object, const char* key, const std::string& where) {
  const json& value = member(object, key, where);
  if (!value.is_array()) expected(fmt::format("{}.{}", where, key), "a list");
  return value;
}

const json& object_member(const json& object, const char* key, const std::string& where) {
  const json& value = member(object, key, where);
  if (!value.is_object()) expected(fmt::format("{}.{}", where, key), "an object");
  return value;
}

std::string string_member(const json& object, const char* key, const std::string& where) {
  return as_string(member(object, key, where), fmt::format("{}.{}", where, key));
}

int64_t integer_member(const json& object, const char* key, const std::string& where) {
  return as_integer(member(object, key, where), fmt::format("{}.{}", where, key));
}

std::string as_string(const json& value, const std::string& where) {
  if (!value.is_string()) expected(where, "a string");
  return value.get<std::string>();
}

int64_t as_integer(const json& value, const std::string& where) {
  bool fits = value.is_number_integer() &&
              !(value.is_number_unsigned() && value.get<uint64_t>() > uint64_t(INT64_MAX));
  if (!fits) expected(where, "a 64-bit integer");
  return value.get<int64_t>();
}

double as_number(const json& value, const std::string& where) {
  if (value.is_number()) return value.get<double>();
  if (value == "Infinity") return std::numeric_limits<double>::infinity();
  if (value == "-Infinity") return -std::numeric_limits<double>::infinity();
  if (value == "NaN") return std::numeric_limits<double>::quiet_NaN();
  expected(where, "a number");
}

bool as_boolean(const json& value, const std::string& where) {
  if (!value.is_boolean()) expected(where, "true or false");
  return value.get<bool>();
}

std::pair<std::string, const json*> only_member(const json& object, const std::string& where) {
  if (!object.is_object() || object.size() != 1) expected(where, "an object with one member");
  return {object.begin().key(), &object.begin().value()};
}

}  // namespace osculant::exported
