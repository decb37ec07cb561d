#pragma once

#include "osculant/base/random.h"
#include "osculant/linop/linear_operator.h"
#include "osculant/spectrum/krylov_process.h"

namespace osculant {

// The Krylov space of a block, X, A X, A^2 X, ..., one product at a time (the band Lanczos process: Ruhe
// 1979; Freund 2000), restarted thickly. A block of k sees eigenvalues of multiplicity up to k, which a
// single vector does not, and one that lies close to an invariant subspace - the eigenvectors at nearby
// parameters - gives pairs from its first products on, where a single vector could not begin with more than
// one of them.
//
// Which vector of W is multiplied next is free: aim() turns W so that it is the residual of a pair still
// wanted. A closed space goes on from a fresh random vector.
//
// Every vector is orthogonalised twice against the whole basis and T is made of these inner products, so
// nothing is assumed of X: right for bases of a few times the pairs wanted, bound by memory beyond.
class BlockKrylov : public KrylovProcess {
 public:
  // Holds up to `capacity` vectors, W included.
  BlockKrylov(const LinearOperator& A, int64_t capacity, RandomStream& random);

  // Empties the basis. Dependent and zero columns of X [n, k] are dropped; false where none is left.
  bool start(const Tensor& X);

  bool extend() override;
  void restart(const Tensor& S, const Tensor& values) override;
  void aim(const Tensor& S) override;

  int64_t size() const override { return size_; }
  bool full() const override { return count_ == capacity_; }
  bool exhausted() const override { return exhausted_; }
  Tensor projected() const override;
  Tensor coupling() const override;
  Tensor combine(const Tensor& S) const override;
  Tensor known_product(const Tensor& S) const override;

 private:
  void keep_open();

  const LinearOperator& A_;
  const VectorSpace space_;
  int64_t capacity_;
  RandomStream& random_;
  Tensor basis_;       // [capacity, n], a vector a row: V, then W
  Tensor projection_;  // float64 [capacity, capacity]: basis' A V, its first `size_` columns filled
  int64_t size_ = 0, count_ = 0;  // of V; of V and W
  double scale_ = 0;              // largest norm of a product seen
  bool exhausted_ = false;
};

}  // namespace osculant
