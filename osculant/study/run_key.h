#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <toml++/toml.h>
#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "osculant/study/run_config.h"

// The kinds of keys that a run file may hold, and how each is read and written. For the sources of
// study/run_*.cpp alone.
namespace osculant::run_keys {

// A value and where it came from. From a shell, quotes and brackets may be missing.
struct Given {
  const toml::node& node;
  std::string raw;  // as typed in a shell; empty for a run file
  bool shell = false;
};

std::string shown(const Given& given);

// What was expected, when a value is not that.
struct NotMeant {};

// Conversions of one TOML node; a shell's text has been parsed as TOML where it can be.
std::string as_text(const Given& given);
int64_t as_integer(const toml::node& node);
double as_number(const toml::node& node);
bool as_flag(const toml::node& node);
OptionValue as_option(const Given& given);
std::vector<std::string> split_at_commas(const std::string& text);

// And back.
std::string quoted(const std::string& text);
std::string number_text(double value);
std::string option_text(const OptionValue& value);

// An array of anything, or, from a shell, "a,b,c".
template <class Function>
auto as_list(const Given& given, Function convert) {
  std::vector<decltype(convert(Given{given.node, "", false}))> list;
  if (const auto* array = given.node.as_array()) {
    for (const auto& entry : *array) list.push_back(convert(Given{entry, "", false}));
    return list;
  }
  if (!given.shell) throw NotMeant{};
  for (const auto& part : split_at_commas(as_text(given))) {
    toml::table parsed;
    try {
      parsed = toml::parse("value = " + part);
    } catch (const toml::parse_error&) {
      parsed = toml::table{{"value", part}};
    }
    list.push_back(convert(Given{*parsed.get("value"), part, true}));
  }
  return list;
}

// One row of the table of keys: how its value is read and written.
struct Key {
  std::string name;
  std::string expected;
  std::function<void(RunConfig&, const Given&)> read;
  std::function<std::string(const RunConfig&)> write;  // TOML, or "" where there is no value
  std::string example;
  std::string words;
};

// Access to a member of a section: at(&RunConfig::train, &TrainConfig::steps).
template <class Section, class T>
auto at(Section RunConfig::*section, T Section::*member) {
  return [=](auto& config) -> auto& {
    return config.*section.*member;
  };
}

template <class Access>
Key text(std::string name, Access access, std::string expected, std::string example, std::string words,
         std::vector<std::string> choices = {}) {
  if (!choices.empty())
    expected = choices.size() == 1 ? choices[0] : fmt::format("one of {}", fmt::join(choices, ", "));
  return {name,
          expected,
          [=](RunConfig& config, const Given& given) {
            std::string value = as_text(given);
            bool known = choices.empty() || std::find(choices.begin(), choices.end(), value) != choices.end();
            if (value.empty() || !known) throw NotMeant{};
            access(config) = value;
          },
          [=](const RunConfig& config) {
            const std::string& value = access(config);
            return value.empty() ? "" : quoted(value);
          },
          example,
          words};
}

// A number of examples or bytes, or a word or size in quotes.
template <class Access, class Check>
Key number_or_text(std::string name, Access access, std::string expected, Check valid, std::string example,
                   std::string words) {
  return {name,
          expected,
          [=](RunConfig& config, const Given& given) {
            auto number = given.node.value_exact<int64_t>();
            std::string value = number ? std::to_string(*number) : as_text(given);
            if (!valid(value)) throw NotMeant{};
            access(config) = value;
          },
          [=](const RunConfig& config) {
            const std::string& value = access(config);
            bool digits = value.find_first_not_of("0123456789") == std::string::npos;
            return value.empty() || digits ? value : quoted(value);
          },
          example,
          words};
}

template <class Access>
Key integer(std::string name, Access access, int64_t minimum, std::string example, std::string words) {
  return {name,
          fmt::format("an integer >= {}", minimum),
          [=](RunConfig& config, const Given& given) {
            int64_t value = as_integer(given.node);
            if (value < minimum) throw NotMeant{};
            access(config) = value;
          },
          [=](const RunConfig& config) {
            const auto& value = access(config);
            return value ? std::to_string(*value) : "";
          },
          example,
          words};
}

template <class Access, class Check>
Key number(std::string name, Access access, std::string expected, Check valid, std::string example,
           std::string words) {
  return {name,
          expected,
          [=](RunConfig& config, const Given& given) {
            double value = as_number(given.node);
            if (!valid(value)) throw NotMeant{};
            access(config) = value;
          },
          [=](const RunConfig& config) {
            const auto& value = access(config);
            return value ? number_text(*value) : "";
          },
          example,
          words};
}

template <class Access>
Key flag(std::string name, Access access, std::string words) {
  return {name,
          "true or false",
          [=](RunConfig& config, const Given& given) { access(config) = as_flag(given.node); },
          [=](const RunConfig& config) {
            const auto& value = access(config);
            return value ? (*value ? "true" : "false") : "";
          },
          "true",
          words};
}

template <class Access>
Key texts(std::string name, Access access, std::string expected, std::string example, std::string words,
          std::vector<std::string> choices = {}) {
  return {name,
          expected,
          [=](RunConfig& config, const Given& given) {
            auto list = as_list(given, [](const Given& entry) { return as_text(entry); });
            for (const auto& entry : list)
              if (!choices.empty() && std::find(choices.begin(), choices.end(), entry) == choices.end())
                throw NotMeant{};
            access(config) = list;
          },
          [=](const RunConfig& config) {
            std::vector<std::string> quoted_entries;
            for (const auto& entry : access(config)) quoted_entries.push_back(quoted(entry));
            return quoted_entries.empty() ? "" : fmt::format("[{}]", fmt::join(quoted_entries, ", "));
          },
          example,
          words};
}

template <class Access>
Key integers(std::string name, Access access, std::string expected, std::string example, std::string words) {
  return {name,
          expected,
          [=](RunConfig& config, const Given& given) {
            auto list = as_list(given, [](const Given& entry) { return as_integer(entry.node); });
            if (list.empty() || *std::min_element(list.begin(), list.end()) < 1) throw NotMeant{};
            access(config) = list;
          },
          [=](const RunConfig& config) {
            const auto& list = access(config);
            return list.empty() ? "" : fmt::format("[{}]", fmt::join(list, ", "));
          },
          example,
          words};
}

template <class Access>
Key numbers(std::string name, Access access, std::string expected, std::string example, std::string words) {
  return {name,
          expected,
          [=](RunConfig& config, const Given& given) {
            auto list = as_list(given, [](const Given& entry) { return as_number(entry.node); });
            if (list.empty() || !(*std::min_element(list.begin(), list.end()) >= 0)) throw NotMeant{};
            access(config) = list;
          },
          [=](const RunConfig& config) {
            std::vector<std::string> entries;
            for (double value : access(config)) entries.push_back(number_text(value));
            return entries.empty() ? "" : fmt::format("[{}]", fmt::join(entries, ", "));
          },
          example,
          words};
}
template <class Access>
Key option_table(std::string name, Access access, std::string example, std::string words) {
  return {name,
          "a table such as { learning_rate = 1e-3 }",
          [=](RunConfig& config, const Given& given) {
            const toml::table* table = given.node.as_table();
            if (table == nullptr) throw NotMeant{};
            for (const auto& [option, value] : *table)
              access(config)[std::string(option.str())] = as_option(Given{value, "", false});
          },
          [=](const RunConfig& config) {
            std::vector<std::string> entries;
            for (const auto& [option, value] : access(config))
              entries.push_back(option + " = " + option_text(value));
            return entries.empty() ? "" : fmt::format("{{ {} }}", fmt::join(entries, ", "));
          },
          example,
          words};
}

// The table of keys, in the order of a run file.
const std::vector<Key>& keys();

}  // namespace osculant::run_keys
