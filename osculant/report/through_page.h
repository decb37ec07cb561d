#pragma once

#include <string>
#include <vector>

#include "osculant/report/html.h"
#include "osculant/report/record.h"

namespace osculant {

// Curvature through the checkpoints of a training. Nothing where `result` has none.
void add_through_words(std::vector<std::string>& words, const Record& result);
void add_through_section(std::vector<Section>& sections, const Record& result);

}  // namespace osculant
