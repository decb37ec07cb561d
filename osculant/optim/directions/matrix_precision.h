#pragma once

#include "osculant/optim/options.h"
#include "osculant/tensor/parameter_layout.h"

namespace osculant {

// What products with layers' matrices are computed in, where that may be less than the parameters have.
enum class MatrixPrecision {
  automatic,   // bfloat16 for float32 parameters where the device multiplies in it, else as parameters
  parameters,  // theta's dtype
  bfloat16,
};
// The option `precision`.
void visit_precision(OptionVisitor& visitor, MatrixPrecision& precision, const char* doc);

// Whether products are made in bfloat16. Small matrices (below 64 rows and columns) are as fast in theta's
// dtype.
bool in_bfloat16(MatrixPrecision precision, const ParameterLayout& layout);
inline constexpr int64_t worth_bfloat16 = 64;

}  // namespace osculant
