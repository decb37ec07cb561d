#pragma once

#include <string>
#include <vector>

#include "osculant/report/html.h"
#include "osculant/report/record.h"

namespace osculant {

std::vector<std::string> advice_summary(const Record& result);
std::vector<Section> advice_sections(const Record& result);

}  // namespace osculant
