#include "osculant/study/result_files.h"

#include <fmt/format.h>

#include <cmath>
#include <filesystem>

#include "osculant/base/error.h"

namespace osculant {

namespace fs = std::filesystem;

const std::vector<std::string>& known_entries() {
  static const std::vector<std::string> names{
      "result.json",       "report.html",      "run.toml",
      "metrics.jsonl",     "best.safetensors", "parameters.safetensors",
      "contestants.jsonl", "checkpoints",      "eigenpairs"};
  return names;
}

void refuse_links(const std::string& folder) {
  for (const auto& name : known_entries()) {
    std::error_code ignored;
    if (fs::is_symlink(fs::path(folder) / name, ignored))
      fail(ErrorKind::write, fmt::format("{}/{}: is a link; nothing is written through it", folder, name));
  }
}

void require_known_schema(double schema, const std::string& path) {
  if (schema == result_schema) return;
  fail_data(fmt::format("{}: expected a result of schema {}, this is one of {}: --overwrite makes it anew", path,
                        result_schema, std::isnan(schema) ? "none" : fmt::format("schema {}", schema)));
}

}  // namespace osculant
