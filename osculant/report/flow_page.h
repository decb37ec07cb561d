#pragma once

#include <string>
#include <vector>

#include "osculant/report/html.h"
#include "osculant/report/record.h"

namespace osculant {

// How a signal gets through the layers: the verdict in words, a chart and a table. Nothing where `result` has
// no diagnosis of it.
void add_flow_words(std::vector<std::string>& words, const Record& result);
void add_flow_section(std::vector<Section>& sections, const Record& result);

}  // namespace osculant
