#pragma once

#include <string>
#include <vector>

#include "osculant/report/html.h"
#include "osculant/report/record.h"

namespace osculant {

std::vector<std::string> comparison_summary(const Record& result);
std::vector<Section> comparison_sections(const Record& result);

}  // namespace osculant
