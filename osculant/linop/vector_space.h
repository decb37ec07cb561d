#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "osculant/base/random.h"
#include "osculant/comm/communicator.h"

namespace osculant {

using at::Tensor;

// R^n as an operator's vectors live in it: the only inner products that solvers use. Entries may be of any
// floating dtype; sums are accumulated in float64 (in chunks), since the projected matrices of Krylov methods
// live from small differences of them.
//
// The rows of its vectors may be dealt out to processes (dealt_to): each then holds share_of(n) of them, in
// order, "[n, k]" below means the rows held here, and what sums over rows is reduced over the processes, so
// that all find the same. Such functions are collective, and so is whatever calls them; decisions may be
// taken only by what they return. What is small (coefficients, Gram matrices) every process has whole.
class VectorSpace {
 public:
  VectorSpace(int64_t size, at::TensorOptions options) : size_(size), options_(options) {}

  int64_t size() const { return size_; }  // n over all ranks
  // The same space with rows dealt out; itself where there is one process.
  VectorSpace dealt_to(const Communicator& processes) const;
  bool dealt() const { return processes_ != nullptr; }
  int64_t local_size() const { return rows_held().size(); }
  // The most that any process holds: what all of them plan memory by.
  int64_t most_rows_held() const;
  Share rows_held() const;
  at::TensorOptions options() const { return options_; }
  at::ScalarType dtype() const { return c10::typeMetaToScalarType(options_.dtype()); }
  at::Device device() const { return options_.device(); }
  double epsilon() const;  // unit roundoff distance u of the dtype: 2.2e-16, 1.2e-7, ...

  double dot(const Tensor& x, const Tensor& y) const;  // [n], [n]
  double norm(const Tensor& x) const;
  // w <- x - a y, and v'w of the result in the same pass over memory. w may be x; v may be w.
  double subtract_and_dot(const Tensor& w, const Tensor& x, double a, const Tensor& y, const Tensor& v) const;
  Tensor gram(const Tensor& X, const Tensor& Y) const;  // X'Y: [n, k], [n, m] -> float64 [k, m] on the CPU

  // Q'x for some blocks Q [n, k] in one reduction, x [n] or [n, m]: [k] or [k, m] in the vectors' dtype, on
  // their device.
  std::vector<Tensor> coefficients(const std::vector<Tensor>& blocks, const Tensor& x) const;
  Tensor coefficients(const Tensor& Q, const Tensor& x) const {
    return coefficients(std::vector<Tensor>{Q}, x).front();
  }
  // X = Q R by Householder: Q [n, k] orthonormal, R [k, k] in the vectors' dtype; k <= n.
  std::pair<Tensor, Tensor> qr(const Tensor& X) const;
  bool all_finite(const Tensor& X) const;

  Tensor zeros(int64_t columns) const;  // [n, columns], each column contiguous
  Tensor unit_vectors(int64_t begin, int64_t count) const;
  // Drawn as without other processes: the same vectors whatever their number.
  Tensor normal(RandomStream& random, int64_t columns) const;
  Tensor rademacher(RandomStream& random, int64_t columns) const;

  // Between whole vectors, which every process has, and the rows held here. Not copied where they are the
  // same.
  Tensor rows_of(const Tensor& whole) const;
  Tensor gather(const Tensor& rows) const;
  Tensor gather_on_first(const Tensor& rows) const;  // nothing on the other processes; vector by vector

  bool operator==(const VectorSpace& other) const;

 private:
  double sum(double part) const;
  Tensor joined(const Tensor& pieces, int64_t columns) const;
  std::vector<int64_t> sizes(int64_t columns) const;

  int64_t size_;
  at::TensorOptions options_;
  const Communicator* processes_ = nullptr;  // none where all rows are here
};

}  // namespace osculant
