#include "osculant/linop/vector_space.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace osculant {
namespace {

// Rows summed in the vectors' own dtype before the partial sums are added in float64: short enough that the
// rounding of a chunk stays near u, long enough that the calls cost nothing beside the arithmetic. An inner
// product runs in many lanes side by side and bears longer chunks than a matrix product, which sums in order.
constexpr int64_t kDotChunk = 16384, kGramChunk = 8192;

double dot_by_chunks(const Tensor& x, const Tensor& y) {
  int64_t n = x.size(0);
  double sum = 0;
  for (int64_t begin = 0; begin < n; begin += kDotChunk) {
    int64_t size = std::min(kDotChunk, n - begin);
    sum += at::dot(x.narrow(0, begin, size), y.narrow(0, begin, size)).item<double>();
  }
  return sum;
}

}  // namespace

double VectorSpace::epsilon() const {
  switch (dtype()) {
    case at::kDouble:
      return std::numeric_limits<double>::epsilon();
    case at::kFloat:
      return std::numeric_limits<float>::epsilon();
    case at::kHalf:
      return 9.765625e-4;
    case at::kBFloat16:
      return 7.8125e-3;
    default:
      return std::numeric_limits<double>::quiet_NaN();
  }
}

double VectorSpace::dot(const Tensor& x, const Tensor& y) const {
  if (x.scalar_type() == at::kDouble) return at::dot(x, y).item<double>();
  if (x.is_cpu()) return dot_by_chunks(x, y);
  return at::mul(x, y).sum(at::kDouble).item<double>();
}

double VectorSpace::norm(const Tensor& x) const {
  return std::sqrt(dot(x, x));
}

Tensor VectorSpace::gram(const Tensor& X, const Tensor& Y) const {
  if (X.scalar_type() == at::kDouble) return X.t().mm(Y).cpu();
  Tensor sum = at::zeros({X.size(1), Y.size(1)}, X.options().dtype(at::kDouble));
  for (int64_t begin = 0, n = X.size(0); begin < n; begin += kGramChunk) {
    int64_t size = std::min(kGramChunk, n - begin);
    sum += X.narrow(0, begin, size).t().mm(Y.narrow(0, begin, size));
  }
  return sum.cpu();
}

Tensor VectorSpace::zeros(int64_t columns) const {
  return at::zeros({columns, local_size()}, options_).t();
}

bool VectorSpace::operator==(const VectorSpace& other) const {
  return size_ == other.size_ && dtype() == other.dtype() && device() == other.device();
}

}  // namespace osculant
