#include "osculant/study/run_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "osculant/base/error.h"
#include "osculant/base/text.h"
#include "osculant/study/run_key.h"

namespace osculant {
namespace {

using run_keys::Given;
using run_keys::keys;
using run_keys::NotMeant;

const std::string options_prefix = "train.options.";  // one option, for --set and for naming its line

std::vector<std::string> sections() {
  return {"model", "data", "loss", "metrics", "train", "compare", "analyze", "advise", "run"};
}

std::string section_of(const std::string& key) {
  return key.substr(0, key.find('.'));
}

[[noreturn]] void unknown_key(const std::string& where, const std::string& name) {
  std::vector<std::string> names, within;
  for (const auto& key : keys()) {
    names.push_back(key.name);
    if (section_of(key.name) == name) within.push_back(key.name);
  }
  if (!within.empty())
    fail_usage(fmt::format("{}: {} is a section; its keys are {}", where, name, fmt::join(within, ", ")));
  for (const auto& section : sections()) names.push_back(section);
  std::string nearest;  // a key in the wrong section, else one misspelt
  for (const auto& candidate : names)
    if (name.find('.') != std::string::npos && candidate.ends_with(name.substr(name.rfind('.'))))
      nearest = candidate;
  if (nearest.empty()) nearest = nearest_word(name, names);
  std::string hint = nearest.empty() ? fmt::format("the sections are {}", fmt::join(sections(), ", "))
                                     : fmt::format("did you mean {}?", nearest);
  fail_usage(fmt::format("{}: unknown key {}; {}", where, name, hint));
}

// Sets one key; `where` is "run.toml:12" or a flag.
void read_key(RunConfig& config, const std::string& name, const Given& given, const std::string& where) {
  std::string expected = "true, false, a number or a text";
  try {
    if (name.starts_with(options_prefix)) {
      config.train.options[name.substr(options_prefix.size())] = run_keys::as_option(given);
      return;
    }
    for (const auto& key : keys()) {
      if (key.name != name) continue;
      expected = key.expected;
      key.read(config, given);
      return;
    }
  } catch (const NotMeant&) {
    fail_usage(fmt::format("{}: {} = {}: must be {}", where, name, run_keys::shown(given), expected));
  }
  unknown_key(where, name);
}

}  // namespace

void RunConfig::read_file(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  std::error_code ignored;
  if (!in || std::filesystem::is_directory(path, ignored) || !(text << in.rdbuf()))
    fail_usage(fmt::format("{}: no such run file, or it cannot be read", path));
  read_text(text.str(), path);
}

void RunConfig::read_text(const std::string& text, const std::string& name) {
  toml::table file;
  try {
    file = toml::parse(text, name);
  } catch (const toml::parse_error& error) {
    fail_usage(fmt::format("{}:{}: {}", name, error.source().begin.line, error.description()));
  }
  auto where = [&name](const toml::node& node) {
    return fmt::format("{}:{}", name, node.source().begin.line);
  };
  auto read = [&](const std::string& key, const toml::node& node) {
    read_key(*this, key, Given{node, "", false}, where(node));
    origins_[key] = where(node) + ": ";
  };
  for (const auto& [section_key, section] : file) {
    std::string section_name(section_key.str());
    const toml::table* entries = section.as_table();
    auto known = sections();
    if (entries == nullptr || std::find(known.begin(), known.end(), section_name) == known.end())
      unknown_key(where(section), section_name);
    for (const auto& [key, node] : *entries) {
      std::string full = fmt::format("{}.{}", section_name, key.str());
      const toml::table* options = full + "." == options_prefix ? node.as_table() : nullptr;
      if (options == nullptr) {
        read(full, node);
        continue;
      }
      for (const auto& [option, value] : *options) read(options_prefix + std::string(option.str()), value);
    }
  }
}

void RunConfig::set(const std::string& key, const std::string& value, const std::string& origin) {
  toml::table parsed;
  try {
    parsed = toml::parse("value = " + value);
  } catch (const toml::parse_error&) {
    parsed = toml::table{{"value", value}};
  }
  if (parsed.size() != 1) parsed = toml::table{{"value", value}};
  read_key(*this, key, Given{*parsed.get("value"), value, true}, origin);
  origins_[key] = origin + ": ";
}

void RunConfig::set_assignment(const std::string& assignment) {
  size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0)
    fail_usage(fmt::format("--set {}: must be KEY=VALUE, such as train.method=adam", assignment));
  std::string key = assignment.substr(0, equals);
  key.erase(key.find_last_not_of(' ') + 1);
  set(key, assignment.substr(equals + 1), "--set");
}

std::string RunConfig::origin(const std::string& key) const {
  auto found = origins_.find(key);
  return (found == origins_.end() ? "" : found->second) + key;
}

std::string RunConfig::to_toml() const {
  std::string out, section;
  auto line = [&](const std::string& name, const std::string& value) {
    if (value.empty()) return;
    if (section_of(name) != section) {
      out += fmt::format("{}[{}]\n", section.empty() ? "" : "\n", section_of(name));
      section = section_of(name);
    }
    out += fmt::format("{} = {}\n", name.substr(section.size() + 1), value);
  };
  for (const auto& key : keys()) line(key.name, key.write(*this));
  return out;
}

std::map<std::string, std::string> RunConfig::values() const {
  std::map<std::string, std::string> all;
  for (const auto& key : keys())
    if (std::string value = key.write(*this); !value.empty()) all[key.name] = value;
  return all;
}

void RunConfig::make_paths_absolute() {
  for (std::string* path : {&model.path, &model.parameters, &data.path, &data.labels, &data.test,
                            &data.test_labels, &analyze.start_from, &analyze.through})
    if (!path->empty() && *path != "split")
      *path = std::filesystem::absolute(*path).lexically_normal().string();
}

std::string commented_run_file(const RunConfig& config) {
  std::string out =
      "# A run file of osculant. Lines that are commented out show what can be said, with an example or the\n"
      "# default. Flags win over this file; --set train.steps=100 sets any key.\n";
  std::string section;
  for (const auto& key : keys()) {
    if (section_of(key.name) != section) {
      section = section_of(key.name);
      out += fmt::format("\n[{}]\n", section);
    }
    std::string value = key.write(config);
    std::string assignment =
        fmt::format("{}{} = {}", value.empty() ? "# " : "", key.name.substr(section.size() + 1),
                    value.empty() ? key.example : value);
    out += fmt::format("{:<44} # {}\n", assignment, key.words);
  }
  return out;
}

}  // namespace osculant
