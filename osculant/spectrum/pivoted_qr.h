#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace osculant {

using at::Tensor;

// The first columns of M P = Q R with column pivoting (Businger & Golub 1965): each next column is the one
// with most left outside the span of those before it.
struct PivotedQr {
  Tensor Q;                      // float64 [n, k], orthonormal
  std::vector<int64_t> columns;  // the columns of M chosen, in their order
  double left = 0;               // norm_F(M - Q Q'M)
};

// M float64 [n, n] on the CPU. Stops at `rank` columns, or where norm_F(M - Q Q'M) <= tolerance * norm_F(M),
// or where nothing but rounding is left. What is left of every column is carried along and its norms are
// taken anew each time, so that no pivot rests on a downdated norm (Drmac & Bujanovic 2008); 4 n^2 operations
// a column.
PivotedQr pivoted_qr(const Tensor& M, int64_t rank, double tolerance = 0);

}  // namespace osculant
