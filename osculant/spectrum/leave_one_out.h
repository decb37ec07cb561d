#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "osculant/linop/vector_space.h"

namespace osculant {

// A sketch Y = A O = Q R of an operator A on R^n, O [n, k] random signs, as it looks with any one column of O
// left out: what XTrace makes of it (Epperly, Tropp & Webber 2024, section 2.2). Without column i, Q projects
// on the span of the rest as Q (I - s s'), s the i-th column of R^-T scaled to norm 1, so that all k
// projections cost one factorisation. All matrices here are float64 [k, k] on the CPU.
class LeaveOneOut {
 public:
  LeaveOneOut() = default;
  // R, upper triangular and not singular, and W = Q'O.
  LeaveOneOut(int64_t n, Tensor R, Tensor W);

  int64_t columns() const { return R_.size(0); }
  LeaveOneOut first(int64_t m) const;  // of the first m columns alone

  // What is left, B = P A P with P = I - Q Q', seen before any product with Q was made: estimates of its mean
  // eigenvalue b = tr(B) / (n - k), and of norm_F(P (A - b I))^2 >= norm_F(B - b P)^2. Since a column is left
  // out, both are those of a sketch smaller by one.
  double mean_eigenvalue() const;
  double remainder() const;
  // The latter for the first m columns alone, from those after them where there are any.
  double remainder(int64_t m) const;

  // The k estimates of the trace, t_i = tr(Q_i'A Q_i) + o_i'(P_i A P_i - b P_i) o_i + b (n - k + 1), Q_i an
  // orthonormal basis without column i, P_i = I - Q_i Q_i' (their equation 2.4; the terms in b have
  // expectation 0 and take out what varies with norm(P_i o_i)). H = Q'A Q and T = O'A Q [k, k].
  Tensor estimates(const Tensor& H, const Tensor& T, double b) const;

 private:
  Tensor squared_lengths() const;  // norm(P_i o_i)^2
  Tensor U() const;

  int64_t n_ = 0;
  Tensor R_, W_;
  Tensor S_;               // columns s_i
  Tensor along_, beyond_;  // [k]: s_i'Q'o_i and s_i'Q'A o_i
};

}  // namespace osculant
