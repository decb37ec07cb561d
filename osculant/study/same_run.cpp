#include "osculant/study/same_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "osculant/base/error.h"

namespace osculant {
namespace {

std::map<std::string, std::string> identity(const RunConfig& config,
                                            const std::vector<std::string>& may_differ) {
  auto values = config.values();
  std::erase_if(values, [&](const auto& entry) {
    return std::any_of(may_differ.begin(), may_differ.end(),
                       [&](const std::string& prefix) { return entry.first.starts_with(prefix); });
  });
  return values;
}

}  // namespace

bool is_recorded_run(const std::string& folder, const RunConfig& config) {
  std::string path = folder + "/run.toml";
  if (!std::filesystem::exists(path)) return false;
  RunConfig recorded;
  recorded.read_file(path);
  return identity(recorded, {"run.out"}) == identity(config, {"run.out"});
}

void require_same_run(const std::string& folder, const RunConfig& config,
                      const std::vector<std::string>& may_differ) {
  std::string path = folder + "/run.toml";
  if (!std::filesystem::exists(path)) return;
  RunConfig earlier;
  earlier.read_file(path);
  auto before = identity(earlier, may_differ), now = identity(config, may_differ);
  auto text = [](const auto& values, const std::string& key) {
    auto found = values.find(key);
    return found == values.end() ? std::string("not given") : found->second;
  };
  for (const auto* values : {&before, &now})
    for (const auto& [key, value] : *values)
      if (text(before, key) != text(now, key))
        fail_usage(fmt::format("--resume: {} is {}, and in {} it was {}; going on would mix two runs", key,
                               text(now, key), path, text(before, key)));
}

}  // namespace osculant
