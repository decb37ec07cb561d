#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>

namespace osculant::exported {

using nlohmann::json;

// Reading JSON that somebody else wrote: every accessor checks, and throws Error(data) with the path of what
// it was reading ("nodes[3].inputs"). For the sources of model/exported_*.cpp alone.

// Refuses what nests deeper than any exporter writes, before parsing.
json parse_json(const std::string& text, const std::string& where);

const json& member(const json& object, const char* key, const std::string& where);
const json& array_member(const json& object, const char* key, const std::string& where);
const json& object_member(const json& object, const char* key, const std::string& where);
std::string string_member(const json& object, const char* key, const std::string& where);
int64_t integer_member(const json& object, const char* key, const std::string& where);

std::string as_string(const json& value, const std::string& where);
int64_t as_integer(const json& value, const std::string& where);
double as_number(const json& value, const std::string& where);  // also "Infinity", "-Infinity", "NaN"
bool as_boolean(const json& value, const std::string& where);

// The only member of a tagged union, {"as_int": 3}: its key and value.
std::pair<std::string, const json*> only_member(const json& object, const std::string& where);

}  // namespace osculant::exported
