#include "osculant/linop/symmetric.h"

#include <ATen/ATen.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>

namespace osculant {

// By panels of columns, each from the diagonal down: with four of them 10/16 of the multiplications.
void add_gram(Tensor& S, const Tensor& X, double beta, double alpha) {
  if (X.scalar_type() != S.scalar_type()) {
    S.mul_(beta).add_(X.mT().matmul(X), alpha);
    return;
  }
  constexpr int64_t worth_a_panel = 128, most_panels = 4;
  int64_t d = S.size(-1), panels = std::clamp(d / worth_a_panel, int64_t{1}, most_panels);
  for (int64_t i = 0; i < panels; ++i) {
    int64_t begin = d * i / panels, end = d * (i + 1) / panels;
    Tensor below = S.narrow(1, begin, d - begin).narrow(2, begin, end - begin);
    Tensor A = X.narrow(2, begin, d - begin).mT(), B = X.narrow(2, begin, end - begin);
    if (S.size(0) == 1)
      below[0].addmm_(A[0], B[0], beta, alpha);
    else
      below.baddbmm_(A, B, beta, alpha);
  }
}

Tensor symmetric_from_lower(const Tensor& S) {
  return S.tril() + S.tril(-1).mT();
}

std::optional<SymmetricEigenpairs> symmetric_eigenpairs(const Tensor& lower) {
  Tensor S = lower.tril();
  if (!std::isfinite(S.sum().item<double>())) return std::nullopt;
  try {
    auto [values, vectors] = at::linalg_eigh(S, "L");
    if (!std::isfinite(values.sum().item<double>()) || !std::isfinite(vectors.sum().item<double>()))
      return std::nullopt;
    return SymmetricEigenpairs{values, vectors};
  } catch (const c10::Error&) {  // LAPACK's iteration did not converge
    return std::nullopt;
  }
}

std::optional<Tensor> shifted_inverse(const Tensor& S, const Tensor& shift) {
  Tensor shifted = S.clone();
  shifted.diagonal(0, 1, 2).add_(shift.to(S.options()).unsqueeze(1));
  auto [factor, failed] = at::linalg_cholesky_ex(shifted);
  if (failed.any().item<bool>() || !std::isfinite(factor.sum().item<double>())) return std::nullopt;
  return at::cholesky_inverse(factor).contiguous();
}

}  // namespace osculant
