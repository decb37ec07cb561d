#include "osculant/linop/vector_space.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

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

// Four entries at a time through copies of them: the compiler may then use vector instructions though w be x.
template <bool kNorm, class Scalar>
double subtract_and_dot_in_one_pass(Scalar* w, const Scalar* x, Scalar a, const Scalar* y, const Scalar* v,
                                    int64_t n) {
  constexpr int64_t kLanes = 4;
  double sums[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    Scalar d[kLanes], partner[kLanes];
    for (int64_t l = 0; l < kLanes; ++l) d[l] = x[i + l] - a * y[i + l];
    if constexpr (!kNorm)
      for (int64_t l = 0; l < kLanes; ++l) partner[l] = v[i + l];
    for (int64_t l = 0; l < kLanes; ++l) w[i + l] = d[l];
    for (int64_t l = 0; l < kLanes; ++l)
      sums[l] += static_cast<double>(d[l]) * static_cast<double>(kNorm ? d[l] : partner[l]);
  }
  double sum = sums[0] + sums[1] + sums[2] + sums[3];
  for (; i < n; ++i) {
    w[i] = x[i] - a * y[i];
    sum += static_cast<double>(w[i]) * static_cast<double>(v[i]);
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

double VectorSpace::subtract_and_dot(const Tensor& w, const Tensor& x, double a, const Tensor& y,
                                     const Tensor& v) const {
  auto one_pass = [&]<class Scalar>(Scalar) {
    auto data = [](const Tensor& t) { return t.data_ptr<Scalar>(); };
    auto* f = data(v) == data(w) ? subtract_and_dot_in_one_pass<true, Scalar>
                                 : subtract_and_dot_in_one_pass<false, Scalar>;
    return f(data(w), data(x), static_cast<Scalar>(a), data(y), data(v), w.size(0));
  };
  bool stored_in_order =
      w.is_cpu() && w.is_contiguous() && x.is_contiguous() && y.is_contiguous() && v.is_contiguous();
  // Several threads are quicker at two passes than one is at one.
  if (stored_in_order && at::get_num_threads() == 1) {
    if (w.scalar_type() == at::kFloat) return one_pass(float());
    if (w.scalar_type() == at::kDouble) return one_pass(double());
  }
  Tensor result = w;
  at::sub_out(result, x, y, a);
  return dot(v, w);
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
