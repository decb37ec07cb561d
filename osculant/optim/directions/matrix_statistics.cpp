#include "osculant/optim/directions/matrix_statistics.h"

#include <ATen/ATen.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>

namespace osculant {

// By panels of columns, each from the diagonal down: with four of them 10/16 of the multiplications.
void add_gram(Tensor& S, const Tensor& X, double beta, double alpha) {
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

void TwoSidedGroup::update_factors(const Tensor& gradient, double beta, double alpha) {
  Tensor G = group.of(gradient);
  if (left.factor.defined()) add_gram(left.factor, G.mT(), beta, alpha);
  if (right.factor.defined()) add_gram(right.factor, G, beta, alpha);
}

std::vector<TwoSidedGroup> two_sided(const std::vector<MatrixGroup>& groups, const at::TensorOptions& options,
                                     const std::function<bool(int64_t)>& has_side) {
  auto side = [&](int64_t count, int64_t d) {
    if (!has_side(d)) return MatrixSide{};
    Tensor identity = at::eye(d, options).expand({count, d, d}).contiguous();
    return MatrixSide{at::zeros_like(identity), identity};
  };
  std::vector<TwoSidedGroup> all;
  for (const auto& group : groups)
    all.push_back({group, side(group.count(), group.rows()), side(group.count(), group.columns())});
  return all;
}

}  // namespace osculant
