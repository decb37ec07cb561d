#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace osculant {

using at::Tensor;

// R^n as an operator's vectors live in it: the only inner products that solvers use. Entries may be of any
// floating dtype; sums are accumulated in float64 (in chunks), since the projected matrices of Krylov methods
// live from small differences of them.
class VectorSpace {
 public:
  VectorSpace(int64_t size, at::TensorOptions options) : size_(size), options_(options) {}

  int64_t size() const { return size_; }        // n over all ranks
  int64_t local_size() const { return size_; }  // rows held here
  at::TensorOptions options() const { return options_; }
  at::ScalarType dtype() const { return c10::typeMetaToScalarType(options_.dtype()); }
  at::Device device() const { return options_.device(); }
  double epsilon() const;  // unit roundoff distance u of the dtype: 2.2e-16, 1.2e-7, ...

  double dot(const Tensor& x, const Tensor& y) const;  // [n], [n]
  double norm(const Tensor& x) const;
  // w <- x - a y, and v'w of the result in the same pass over memory. w may be x; v may be w.
  double subtract_and_dot(const Tensor& w, const Tensor& x, double a, const Tensor& y, const Tensor& v) const;
  Tensor gram(const Tensor& X, const Tensor& Y) const;  // X'Y: [n, k], [n, m] -> float64 [k, m] on the CPU

  Tensor zeros(int64_t columns) const;  // [n, columns], each column contiguous

  bool operator==(const VectorSpace& other) const;

 private:
  int64_t size_;
  at::TensorOptions options_;
};

}  // namespace osculant
