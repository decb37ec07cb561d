#include "osculant/spectrum/leave_one_out.h"

#include <torch/types.h>

namespace osculant {

LeaveOneOut::LeaveOneOut(int64_t n, Tensor R, Tensor W) : n_(n), R_(std::move(R)), W_(std::move(W)) {
  Tensor identity = at::eye(R_.size(0), R_.options());
  S_ = at::linalg_solve_triangular(R_, identity, /*upper=*/true).t();
  S_ = S_ / S_.norm(2, {0}, /*keepdim=*/true);
  along_ = (S_ * W_).sum(0);
  beyond_ = (S_ * R_).sum(0);
}

LeaveOneOut LeaveOneOut::first(int64_t m) const {
  return {n_, R_.narrow(0, 0, m).narrow(1, 0, m), W_.narrow(0, 0, m).narrow(1, 0, m)};
}

Tensor LeaveOneOut::U() const {
  return W_ - S_ * along_;
}

Tensor LeaveOneOut::squared_lengths() const {
  return static_cast<double>(n_) - U().square().sum(0);
}

double LeaveOneOut::mean_eigenvalue() const {
  // P_i A o_i = Q s (s'Q'A o_i), and o_i' times it
  return ((along_ * beyond_).sum() / squared_lengths().sum()).item<double>();
}

double LeaveOneOut::remainder() const {
  return (beyond_.square() - (along_ * beyond_).square() / squared_lengths()).mean().item<double>();
}

double LeaveOneOut::remainder(int64_t m) const {
  int64_t rest = columns() - m;
  if (rest == 0) return remainder();
  auto block = [&](const Tensor& M, int64_t row, int64_t rows) {
    return M.narrow(0, row, rows).narrow(1, m, rest);
  };
  Tensor Y = block(R_, m, rest), inner = (block(W_, m, rest) * Y).sum(0);
  Tensor lengths = static_cast<double>(n_) - block(W_, 0, m).square().sum(0);
  return (Y.square().sum(0) - inner.square() / lengths).mean().item<double>();
}

Tensor LeaveOneOut::estimates(const Tensor& H, const Tensor& T, double b) const {
  // P_i o_i = o_i - Q u_i, u_i = w_i - s_i (s_i'w_i), and s_i'Q'A o_i is all that u_i'Q' leaves of w_i'Q'A
  // o_i.
  Tensor U = this->U();
  Tensor known = H.trace() - (S_ * H.mm(S_)).sum(0);
  Tensor rest = along_ * beyond_ - (T.t() * U).sum(0) + (U * H.mm(U)).sum(0);
  return known + rest - b * (squared_lengths() - static_cast<double>(n_ - columns() + 1));
}

}  // namespace osculant
