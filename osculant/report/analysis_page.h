#pragma once

#include <string>
#include <vector>

#include "osculant/report/html.h"
#include "osculant/report/record.h"

namespace osculant {

// What the analysis found, what that means for training and what is uncertain: a sentence each.
std::vector<std::string> analysis_summary(const Record& result);
std::vector<Section> analysis_sections(const Record& result);

}  // namespace osculant
