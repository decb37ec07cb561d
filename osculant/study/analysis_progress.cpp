#include "osculant/study/analysis_progress.h"

#include <fmt/format.h>

#include <algorithm>

#include "osculant/base/text.h"

namespace osculant {

void AnalysisProgress::begin(int64_t expected) {
  expected_ += made_ - of_part_;  // what the last part really took
  before_ += made_;
  of_part_ = expected;
  made_ = 0;
}

void AnalysisProgress::skip(int64_t expected) {
  expected_ -= expected;
}

void AnalysisProgress::show(const std::string& title, int64_t made, const std::string& doing) {
  made_ = made;
  int64_t done = before_ + made, total = expected_ + std::max<int64_t>(made - of_part_, 0);
  std::string left;
  if (done > 0)
    left = fmt::format(
        "; about {} left",
        format_seconds(watch_.seconds() * static_cast<double>(total - done) / static_cast<double>(done)));
  show_(fmt::format("{}: product {} of about {}, {}{}", title, format_count(done), format_count(total), doing,
                    left));
}

}  // namespace osculant
