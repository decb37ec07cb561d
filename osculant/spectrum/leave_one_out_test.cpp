#include "osculant/spectrum/leave_one_out.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include "osculant/spectrum/testing.h"

namespace osculant {
namespace {

// An unsymmetric matrix, a sketch of k signs, and what the class is given of them.
struct Sketch {
  explicit Sketch(int64_t k)
      : A(RandomStream(1, "A").normal({n, n}, at::kDouble).mm(at::diag(decay()))),
        O(RandomStream(2, "O").rademacher({n, k}, at::kDouble)) {
    std::tie(Q, R) = at::linalg_qr(A.mm(O));
  }
  static Tensor decay() { return at::arange(1, n + 1, at::kDouble).pow(-1.0); }
  LeaveOneOut leave_one_out() const { return {n, R, Q.t().mm(O)}; }

  // P_i, by a factorisation of its own.
  Tensor projection(int64_t i) const {
    Tensor others = at::cat({O.narrow(1, 0, i), O.narrow(1, i + 1, O.size(1) - i - 1)}, 1);
    Tensor Qi = std::get<0>(at::linalg_qr(A.mm(others)));
    return at::eye(n, at::kDouble) - Qi.mm(Qi.t());
  }

  static constexpr int64_t n = 40;
  Tensor A, O, Q, R;
};

double product(const Tensor& x, const Tensor& y) {
  return (x * y).sum().item<double>();
}

TEST(LeaveOneOut, EqualsOneFactorisationForEachColumn) {
  constexpr int64_t k = 9;
  Sketch sketch(k);
  auto whole = sketch.leave_one_out();
  double b = 0.3, inner = 0, lengths = 0, remainder = 0;
  Tensor Z = sketch.A.mm(sketch.Q);
  Tensor estimates = whole.estimates(sketch.Q.t().mm(Z), sketch.O.t().mm(Z), b);
  for (int64_t i = 0; i < k; ++i) {
    Tensor P = sketch.projection(i), o = sketch.O.select(1, i), p = P.mv(o), y = P.mv(sketch.A.mv(o));
    double known = sketch.A.trace().item<double>() - P.mm(sketch.A).mm(P).trace().item<double>();
    double rest = product(p, sketch.A.mv(p)) - b * (product(p, p) - (Sketch::n - k + 1));
    EXPECT_NEAR(estimates[i].item<double>(), known + rest, 1e-11);
    inner += product(o, y);
    lengths += product(p, p);
    remainder += (product(y, y) - product(o, y) * product(o, y) / product(p, p)) / k;
  }
  EXPECT_NEAR(whole.mean_eigenvalue(), inner / lengths, 1e-12);
  EXPECT_NEAR(whole.remainder(), remainder, 1e-11);
}

TEST(LeaveOneOut, MeasuresWhatTheFirstColumnsLeaveOnTheOthers) {
  constexpr int64_t k = 9, m = 5;
  Sketch sketch(k);
  auto whole = sketch.leave_one_out();
  Tensor Q = sketch.Q.narrow(1, 0, m), P = at::eye(Sketch::n, at::kDouble) - Q.mm(Q.t());
  double remainder = 0;
  for (int64_t i = m; i < k; ++i) {
    Tensor p = P.mv(sketch.O.select(1, i)), y = P.mv(sketch.A.mv(sketch.O.select(1, i)));
    remainder += (product(y, y) - product(p, y) * product(p, y) / product(p, p)) / (k - m);
  }
  EXPECT_NEAR(whole.remainder(m), remainder, 1e-11);
  EXPECT_EQ(whole.remainder(k), whole.remainder());
  EXPECT_NEAR(whole.first(m).mean_eigenvalue(), Sketch(m).leave_one_out().mean_eigenvalue(), 0.1);
}

}  // namespace
}  // namespace osculant
