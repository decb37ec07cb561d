#include "osculant/linop/vector_space.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

namespace osculant {
namespace {

// Rows summed in the vectors' own dtype before the partial sums are added in float64: short enough that the
// rounding of a chunk is that of a few thousand terms, long enough that a chunk is a matrix product.
constexpr int64_t kChunk = 4096;

}  // namespace

double VectorSpace::epsilon() const {
  switch (dtype()) {
    case at::kDouble: return std::numeric_limits<double>::epsilon();
    case at::kFloat: return std::numeric_limits<float>::epsilon();
    case at::kHalf: return 9.765625e-4;
    case at::kBFloat16: return 7.8125e-3;
    default: return std::numeric_limits<double>::quiet_NaN();
  }
}

double VectorSpace::dot(const Tensor& x, const Tensor& y) const {
  if (x.scalar_type() == at::kDouble) return at::dot(x, y).item<double>();
  return gram(x.unsqueeze(1), y.unsqueeze(1)).item<double>();
}

double VectorSpace::norm(const Tensor& x) const { return std::sqrt(dot(x, x)); }

Tensor VectorSpace::gram(const Tensor& X, const Tensor& Y) const {
  if (X.scalar_type() == at::kDouble) return X.t().mm(Y).cpu();
  int64_t n = X.size(0), whole = n / kChunk;
  Tensor sum = at::zeros({X.size(1), Y.size(1)}, X.options().dtype(at::kDouble));
  if (whole > 0) {
    auto chunked = [&](const Tensor& A) {  // [n, k] -> [chunks, k, kChunk], a view
      return A.narrow(0, 0, whole * kChunk).t().unflatten(1, {whole, kChunk}).transpose(0, 1);
    };
    sum += at::bmm(chunked(X), chunked(Y).transpose(1, 2)).sum(0, /*keepdim=*/false, at::kDouble);
  }
  int64_t rest = n - whole * kChunk;
  if (rest > 0)
    sum += X.narrow(0, n - rest, rest).t().mm(Y.narrow(0, n - rest, rest)).to(at::kDouble);
  return sum.cpu();
}

Tensor VectorSpace::zeros(int64_t columns) const { return at::zeros({columns, local_size()}, options_).t(); }

bool VectorSpace::operator==(const VectorSpace& other) const {
  return size_ == other.size_ && dtype() == other.dtype() && device() == other.device();
}

}  // namespace osculant
