#pragma once

#include <string>
#include <vector>

#include "osculant/report/html.h"
#include "osculant/report/record.h"

namespace osculant {

// Where all the eigenvalues of a matrix are: its rank in words and numbers, the density as a chart. Nothing
// is said of what `spectrum`, an entry of result.json, does not hold.
void add_rank_words(std::vector<std::string>& words, const std::string& name, const Record& spectrum);
void add_spread_sections(std::vector<Section>& sections, const std::string& matrix, const std::string& name,
                         const Record& spectrum);

}  // namespace osculant
