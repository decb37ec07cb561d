#pragma once

#include <string>
#include <vector>

#include "osculant/report/html.h"
#include "osculant/report/record.h"

namespace osculant {

// The objective about theta, seen through a matrix: where the gradient lies among the eigenvectors, slices of
// the objective, and what of the spectrum is due to the examples at hand. Nothing is said of what `spectrum`,
// an entry of result.json, does not hold.
void add_landscape_words(std::vector<std::string>& words, const std::string& name, const Record& spectrum);
void add_landscape_sections(std::vector<Section>& sections, const std::string& matrix,
                            const std::string& name, const Record& spectrum);

}  // namespace osculant
