#include "osculant/study/contestants.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "osculant/base/error.h"
#include "osculant/study/build_model.h"
#include "osculant/study/training_setup.h"

namespace osculant {
namespace {

std::vector<std::string> parts_of(const std::vector<std::string>& texts) {
  std::vector<std::string> parts;
  for (const auto& text : texts) {
    for (size_t begin = 0; begin <= text.size();) {
      size_t end = std::min(text.find(',', begin), text.size());
      std::string part = text.substr(begin, end - begin);
      part.erase(0, part.find_first_not_of(' '));
      part.erase(part.find_last_not_of(' ') + 1);
      parts.push_back(part);
      begin = end + 1;
    }
  }
  return parts;
}

OptionValue option_value(const std::string& text) {
  if (text == "true" || text == "false") return text == "true";
  double number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size()) return number;
  return text;
}

void add_option(Entry& entry, const std::string& option, const std::string& origin) {
  size_t equals = option.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == option.size())
    fail_usage(fmt::format("{}: {}: \"{}\" must be OPTION=VALUE", origin, entry.method, option));
  std::string name = option.substr(0, equals), value = option.substr(equals + 1);
  entry.label += (entry.label == entry.method ? ":" : ",") + option;
  if (name == "batch_size")
    entry.batch_size = value;
  else
    entry.options[name] = option_value(value);
}

void check_entries(const std::vector<Entry>& entries, const std::string& origin) {
  for (size_t i = 0; i < entries.size(); ++i) {
    for (size_t j = 0; j < i; ++j)
      if (entries[i].label == entries[j].label)
        fail_usage(fmt::format("{}: {} comes twice", origin, entries[i].label));
    try {
      find_method(entries[i].method).make(entries[i].options);
    } catch (const Error& error) {
      fail_usage(fmt::format("{}: {}", origin, error.what()));
    }
  }
}

}  // namespace

std::vector<Entry> read_entries(const RunConfig& config) {
  std::string origin = config.origin("compare.methods");
  std::vector<Entry> entries;
  for (const auto& part : parts_of(config.compare.methods)) {
    size_t colon = part.find(':'), equals = part.find('=');
    if (equals != std::string::npos && equals < colon) {
      if (entries.empty()) fail_usage(fmt::format("{}: \"{}\": no method is named before it", origin, part));
      add_option(entries.back(), part, origin);
      continue;
    }
    std::string method = part.substr(0, colon);
    entries.push_back({method, method, {}, ""});
    if (colon != std::string::npos) add_option(entries.back(), part.substr(colon + 1), origin);
  }
  if (entries.empty())
    fail_usage("compare.methods is not given: in the run file, or with --methods adam,hessian_free");
  check_entries(entries, origin);
  return entries;
}

RunConfig training_config(const RunConfig& config, const Entry& entry, const OptionMap& options,
                          int64_t seed) {
  RunConfig own = config;
  own.train.method = entry.method;
  own.train.options = options;
  own.run.seed = seed;
  if (!entry.batch_size.empty())
    own.set("train.batch_size", entry.batch_size, config.origin("compare.methods"));
  return own;
}

Problem with_own_model(const Problem& problem, const RunConfig& config, int64_t memory_budget) {
  Problem own = problem;
  auto seed = static_cast<uint64_t>(*config.run.seed);
  own.model = build_model(config, problem.model.device(), problem.model.dtype(), seed);
  own.model.train(config.model.mode != "eval");
  own.memory_budget = memory_budget;
  return own;
}

Contestant make_contestant(const Problem& problem, const RunConfig& config, const std::string& label) {
  MinimizeOptions options = minimize_options(problem, config);
  return {label, training_method(config), training_objective(problem, config), options};
}

}  // namespace osculant
