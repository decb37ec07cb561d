#pragma once

#include <string>

#include "osculant/spectrum/eigenpairs.h"

namespace osculant {

// Eigenpairs with all that is known about them in one file (io/archive.h): to go on from in a later session,
// and to start from at other parameters (EigenOptions::start). Saved whole or not at all; Error(write).
void save_eigenpairs(const EigenResult& pairs, const std::string& path);

// Vectors come back on the CPU. Throws Error(data) where the file is damaged, or something else.
EigenResult load_eigenpairs(const std::string& path);

}  // namespace osculant
