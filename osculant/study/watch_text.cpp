#include <fmt/format.h>

#include "osculant/base/text.h"
#include "osculant/study/watch_record.h"

namespace osculant {

std::string words_of(const WatchWarning& warning) {
  return fmt::format("step {}: {} {}", format_count(warning.step), warning.message, warning.remedy);
}

std::string to_text(const WatchRecord& watch) {
  std::string out = "  Watched: " + watch.words + ".\n";
  if (!watch.sharpness.empty()) {
    const auto& last = watch.sharpness.back();
    out += fmt::format(
        "  Curvature along the steepest direction found, at step {}: {}; stable below {} ({}).\n",
        format_count(last.step), words_of(last.curvature), format_number(last.limit), watch.limit_words);
  }
  for (const auto& warning : watch.warnings) {
    out += "  Warning, " + words_of(warning);
    if (warning.last_step > warning.step)
      out += fmt::format(" Still so at step {}.", format_count(warning.last_step));
    out += "\n";
  }
  return out;
}

}  // namespace osculant
