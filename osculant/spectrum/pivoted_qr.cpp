#include "osculant/spectrum/pivoted_qr.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

namespace osculant {

PivotedQr pivoted_qr(const Tensor& M, int64_t rank, double tolerance) {
  int64_t n = M.size(0), most = std::min(rank, n);
  double whole = M.norm().item<double>();
  double rounding = static_cast<double>(n) * std::numeric_limits<double>::epsilon() * whole;
  double enough = std::max(tolerance * whole, rounding);
  Tensor rest = M.clone(), rows = at::empty({most, n}, M.options());
  PivotedQr result;
  result.left = whole;
  int64_t k = 0;
  for (; k < most && result.left > enough; ++k) {
    int64_t pivot = rest.norm(2, {0}).argmax().item<int64_t>();
    // Once more against those before it: what the subtractions from `rest` have rounded adds up.
    Tensor q = rest.select(1, pivot).clone(), Q = rows.narrow(0, 0, k);
    for (int pass = 0; pass < 2; ++pass) {
      q.div_(q.norm());
      q.sub_(Q.t().mv(Q.mv(q)));
    }
    q.div_(q.norm());
    rows[k].copy_(q);
    rest.addr_(q, rest.t().mv(q), /*beta=*/1, /*alpha=*/-1);
    result.columns.push_back(pivot);
    result.left = rest.norm().item<double>();
  }
  result.Q = rows.narrow(0, 0, k).t();
  return result;
}

}  // namespace osculant
