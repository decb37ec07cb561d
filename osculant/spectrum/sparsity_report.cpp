#include <fmt/format.h>

#include "osculant/base/error.h"
#include "osculant/base/text.h"
#include "osculant/spectrum/norms.h"
#include "osculant/spectrum/sparsity.h"

namespace osculant {

void SparsityOptions::check() const {
  require_at_least("columns", static_cast<double>(columns), 2);
  require_positive("threshold", threshold);
  require_inside("tolerance", tolerance, 0, 1);
  require_inside("confidence", confidence, 0, 1);
  require_positive("miss_tolerance", miss_tolerance);
}

std::string_view to_string(Structure structure) {
  switch (structure) {
    case Structure::diagonal:
      return "diagonal";
    case Structure::block_diagonal:
      return "block_diagonal";
    case Structure::band:
      return "band";
    case Structure::dense:
      return "dense";
    case Structure::unknown:
      return "unknown";
  }
  return "?";
}

std::string SparsityResult::report() const {
  std::string text =
      fmt::format("sparsity of {} (n = {}, {} layers): {}\n", name, format_count(size), blocks.size(), words);
  std::vector<std::string> header{"norm_F"};
  for (const auto& block : blocks) header.push_back(block.name);
  TextTable table(header);
  for (size_t a = 0; a < blocks.size(); ++a) {
    std::vector<std::string> row{blocks[a].name};
    for (const auto& norm : norms[a]) row.push_back(in_words(norm));
    table.add(row);
  }
  text += table.str();
  text += fmt::format("  {} of the entries are at most {} * {}, in {} columns\n", in_words(negligible),
                      format_number(threshold), format_number(scale), format_count(columns));
  return text + fmt::format("  {}{}; {} products\n",
                            exact ? "" : fmt::format("{:g} % intervals, from ", 100 * confidence), how,
                            format_count(products));
}

}  // namespace osculant
