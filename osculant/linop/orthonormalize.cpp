#include "osculant/linop/orthonormalize.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

namespace osculant {
namespace {

// One round: X'X = R'R, Q = X R^-1, with the columns scaled to norm 1 first. Nothing where the Gram matrix is
// too close to singular for Q to come out nearly orthonormal: Cholesky's smallest pivot squared must stand
// clear of the rounding of the inner products.
std::optional<Orthonormal> cholesky_qr(const VectorSpace& space, const Tensor& X) {
  Tensor gram = space.gram(X, X);
  Tensor norms = gram.diagonal().clamp_min(0).sqrt();
  if (!norms.gt(0).all().item<bool>() || !gram.isfinite().all().item<bool>()) return {};
  Tensor scaled = gram / norms.unsqueeze(0) / norms.unsqueeze(1);
  auto [L, info] = at::linalg_cholesky_ex((scaled + scaled.t()) / 2);
  if (info.item<int>() != 0) return {};
  double pivot = L.diagonal().min().item<double>();
  if (pivot * pivot < 100 * X.size(1) * space.epsilon()) return {};
  Tensor R = L.t() * norms.unsqueeze(0);
  return Orthonormal{combine_columns(X, at::linalg_inv(R)), R, X.size(1)};
}

Orthonormal select_columns(const Tensor& X, const std::vector<int64_t>& columns) {
  auto index = at::tensor(columns, at::kLong).to(X.device());
  return {at::index_select(X.t(), 0, index).t(), Tensor(), static_cast<int64_t>(columns.size())};
}

// The columns whose part orthogonal to those before them is above rounding.
std::vector<int64_t> independent_columns(const VectorSpace& space, const Tensor& R) {
  Tensor diagonal = R.diagonal().abs().to(at::kDouble).cpu();
  double tolerance = 10 * std::sqrt(static_cast<double>(R.size(1))) * space.epsilon() *
                     R.to(at::kDouble).norm(2, {0}).max().item<double>();
  std::vector<int64_t> columns;
  for (int64_t j = 0; j < diagonal.size(0); ++j)
    if (diagonal[j].item<double>() > tolerance) columns.push_back(j);
  return columns;
}

Orthonormal householder_qr(const VectorSpace& space, const Tensor& X) {
  auto [Q, R] = space.qr(X);
  auto columns = independent_columns(space, R);
  if (static_cast<int64_t>(columns.size()) == X.size(1)) return {Q, R.to(at::kDouble).cpu(), X.size(1)};
  if (columns.empty()) return {X.narrow(1, 0, 0), at::zeros({0, X.size(1)}, at::kDouble), 0};
  // An arbitrary direction stands in for each dependent column, so the others are orthonormalised without it.
  Tensor rest = space.qr(select_columns(X, columns).Q).first;
  return {rest, space.gram(rest, X), static_cast<int64_t>(columns.size())};
}

}  // namespace

Tensor combine_columns(const Tensor& X, const Tensor& S) {
  return at::mm(S.to(X.options()).t(), X.t()).t();
}

Tensor combine_columns_in_place(const Tensor& X, const Tensor& S) {
  constexpr int64_t kStripe = 8192;
  Tensor St = S.to(X.options()).t().contiguous(), old = X.t(), out = old.narrow(0, 0, S.size(1));
  for (int64_t begin = 0, n = X.size(0); begin < n; begin += kStripe) {
    int64_t width = std::min(kStripe, n - begin);
    out.narrow(1, begin, width).copy_(at::mm(St, old.narrow(1, begin, width)));
  }
  return out.t();
}

Orthonormal orthonormalize(const VectorSpace& space, const Tensor& X) {
  if (X.size(1) == 0) return {X, at::zeros({0, 0}, at::kDouble), 0};
  if (auto first = cholesky_qr(space, X))
    if (auto second = cholesky_qr(space, first->Q)) return {second->Q, second->R.mm(first->R), X.size(1)};
  return householder_qr(space, X);
}

}  // namespace osculant
