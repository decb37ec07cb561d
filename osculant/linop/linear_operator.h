#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "osculant/linop/vector_space.h"

namespace osculant {

// y = A x. The one type that everything is which maps vectors: curvature matrices, preconditioners, low-rank
// approximations, sums and products of them. Solvers and spectral methods see nothing else.
//
// apply takes a vector [cols] or a block [cols, k] and returns [rows] or [rows, k]. It checks shape, dtype
// and device and counts the work; derived classes implement apply_block on blocks alone.
class LinearOperator {
 public:
  LinearOperator(VectorSpace range, VectorSpace domain, std::string name);
  virtual ~LinearOperator() = default;

  Tensor apply(const Tensor& x) const;
  Tensor apply_adjoint(const Tensor& y) const;  // A'y; the operator itself where symmetric() holds

  const VectorSpace& domain() const { return domain_; }  // x lives here
  const VectorSpace& range() const { return range_; }    // y lives here
  int64_t rows() const { return range_.size(); }
  int64_t cols() const { return domain_.size(); }
  const std::string& name() const { return name_; }

  // Declared by the implementation, checked by sampling in its tests.
  virtual bool symmetric() const { return false; }
  virtual bool positive_semidefinite() const { return false; }

  // Work done since construction.
  int64_t products() const { return products_; }  // vectors multiplied, a block of k counting k
  double seconds() const { return seconds_; }

 protected:
  virtual Tensor apply_block(const Tensor& X) const = 0;      // [cols, k] -> [rows, k]
  virtual Tensor apply_adjoint_block(const Tensor& Y) const;  // [rows, k] -> [cols, k]

 private:
  template <class Function>
  Tensor checked(const Tensor& x, const VectorSpace& from, const VectorSpace& to, const char* what,
                 Function f) const;

  VectorSpace range_, domain_;
  std::string name_;
  mutable int64_t products_ = 0;
  mutable double seconds_ = 0;
};

using OperatorPtr = std::shared_ptr<const LinearOperator>;

// Every column of A, [rows, cols], by blocks of `block` products with unit vectors; whole on every process.
Tensor to_dense(const LinearOperator& A, int64_t block = 64);

}  // namespace osculant
