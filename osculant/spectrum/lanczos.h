#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "osculant/base/random.h"
#include "osculant/linop/linear_operator.h"
#include "osculant/spectrum/certificate.h"
#include "osculant/spectrum/krylov_process.h"

namespace osculant {

struct LanczosSettings {
  int64_t capacity = 0;  // most basis vectors kept, >= 2
  double orthogonality =
      0;              // largest inner product of two basis vectors let stand; sqrt(u) keeps T exact to u
  bool full = false;  // reorthogonalise at every step, without the estimate
};

// The Lanczos recurrence on a symmetric operator, restarted thickly, with partial reorthogonalisation:
//
//   A V = V T + beta v e',   V [n, size] orthonormal to `orthogonality`, v the next vector,
//
// T tridiagonal, or after a restart with l Ritz vectors an arrow of size l followed by a tridiagonal part
// (Wu & Simon 2000). The loss of orthogonality is followed by the omega recurrence (Simon 1984) and mended,
// on two successive vectors, where it passes the limit: a full pass over the basis is bound by memory and
// costs several times a product.
//
// Where the operator's rows are dealt out to processes, so is the basis: a step then takes two messages of
// one number beside the product's, and a pass of reorthogonalisation two more, of a number a vector and of
// one.
class Lanczos : public KrylovProcess {
 public:
  // Vectors stay orthogonal to the columns of `deflated` ([n, d], orthonormal), if there are any.
  Lanczos(const LinearOperator& A, LanczosSettings settings, RandomStream& random);

  // Empties the basis and draws the first vector from the sphere, orthogonal to `deflated` (held until the
  // next start). False where nothing is orthogonal to it.
  bool start(const Tensor& deflated = {});

  // The same from the part of v that is orthogonal to `deflated`. False where nothing of it is.
  bool start_from(const Tensor& v, const Tensor& deflated = {});

  bool extend() override;
  void restart(const Tensor& S, const Tensor& values) override;

  int64_t size() const override { return size_; }
  bool full() const override { return size_ == settings_.capacity; }
  bool exhausted() const override { return exhausted_; }
  Tensor projected() const override;
  Tensor coupling() const override;                // beta e'
  double next_norm() const { return next_norm_; }  // beta
  double scale() const { return scale_; }   // largest row sum of abs(T) seen: about norm_2(A), never less
  int64_t steps() const { return steps_; }  // products since start()
  // T from start() to the first restart or invariant subspace: what a random start can be held to.
  const Tridiagonal& first_cycle() const { return first_cycle_; }
  // The vectors of the first cycle span an invariant subspace.
  bool first_cycle_closed() const { return closed_; }
  int64_t rows_reorthogonalised() const {
    return rows_reorthogonalised_;
  }                                                                // basis vectors read for it, in all
  Tensor basis() const { return basis_.narrow(0, 0, size_).t(); }  // V, a view
  Tensor combine(const Tensor& S) const override;
  // Counts in what reorthogonalisation removed since the last restart. Of P A P for P the projection off the
  // deflated vectors.
  Tensor known_product(const Tensor& S) const override;

 private:
  Tensor rows(int64_t begin, int64_t count) const { return basis_.narrow(0, begin, count); }
  void reset(const Tensor& deflated);
  bool draw(int64_t row);
  double recur(int64_t j, const Tensor& product);
  void estimate_orthogonality(int64_t j, double norm);
  double keep_orthogonal(int64_t j, double norm);
  double orthogonalise(int64_t row, int64_t begin, int64_t end, Tensor* removed = nullptr);
  Tensor removed_coefficients() const;
  double defect_outside(const Tensor& S) const;
  void orthonormalise_kept();

  const LinearOperator& A_;
  const VectorSpace space_;
  LanczosSettings settings_;
  RandomStream& random_;
  Tensor basis_;                        // [capacity + 1, n], a vector a row
  Tensor deflated_;                     // [d, n], or undefined
  std::vector<double> alpha_, beta_;    // T's diagonal (Ritz values first); beta_[j] couples j and j + 1
  std::vector<double> arrow_;           // couples the kept Ritz vectors and the vector after them
  std::vector<double> omega_, before_;  // estimates of v_i'v_j for the newest vector and the one before it
  std::vector<std::pair<int64_t, Tensor>> removed_;  // (j, what was removed from A v_j along the basis)
  int64_t size_ = 0, kept_ = 0, steps_ = 0, rows_reorthogonalised_ = 0;
  double next_norm_ = 0, scale_ = 0, defect_ = 0;
  int64_t stretch_begin_ = 0, stretch_end_ = 0;  // what the last reorthogonalisation was against
  bool again_ = false, exhausted_ = false, in_first_cycle_ = true, closed_ = false;
  Tridiagonal first_cycle_;
};

}  // namespace osculant
