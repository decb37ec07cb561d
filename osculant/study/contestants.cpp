#include "osculant/study/contestants.h"

#include <fmt/format.h>

#include <utility>

#include "osculant/base/error.h"
#include "osculant/study/build_model.h"
#include "osculant/study/named_options.h"
#include "osculant/study/training_setup.h"

namespace osculant {
namespace {

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
  for (auto& given : read_named_options(config.compare.methods, origin, "method")) {
    given.options.erase("batch_size");
    entries.push_back({given.label, given.name, std::move(given.options), given.texts["batch_size"]});
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
  auto seed = config.seed();
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
