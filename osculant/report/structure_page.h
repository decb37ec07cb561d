#pragma once

#include <string>
#include <vector>

#include "osculant/report/html.h"
#include "osculant/report/record.h"

namespace osculant {

// Which blocks and entries of a matrix matter, and how few terms come close to it: sparsity and low rank in
// words, a map of the blocks' norms, the error of each rank as a chart. Nothing is said of what `spectrum`,
// an entry of result.json, does not hold.
void add_structure_words(std::vector<std::string>& words, const std::string& name, const Record& spectrum);
void add_structure_sections(std::vector<Section>& sections, const std::string& matrix,
                            const std::string& name, const Record& spectrum);

}  // namespace osculant
