#include "osculant/spectrum/ritz.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "osculant/linop/orthonormalize.h"

namespace osculant {
namespace {

// G^(-1/2) of a Gram matrix G = Z'Z: Z G^(-1/2) is the orthonormal block nearest to Z.
Tensor whitening(const Tensor& gram) {
  auto [l, U] = at::linalg_eigh((gram + gram.t()) / 2);
  return (U / l.clamp_min(1e-30).sqrt()).mm(U.t());
}

Tensor residual_gram(const VectorSpace& space, const PairBlock& block) {
  Tensor R = block.AQ - block.Q * block.values.to(block.Q.options());
  return space.gram(R, R);
}

}  // namespace

std::vector<double> to_vector(const Tensor& x) {
  Tensor y = x.contiguous();
  return {y.data_ptr<double>(), y.data_ptr<double>() + y.numel()};
}

Tensor apply_by_blocks(const LinearOperator& A, const Tensor& X) {
  constexpr int64_t kBlock = 8;
  Tensor AX = A.range().zeros(X.size(1));
  for (int64_t begin = 0; begin < X.size(1); begin += kBlock) {
    int64_t k = std::min(kBlock, X.size(1) - begin);
    AX.narrow(1, begin, k).copy_(A.apply(X.narrow(1, begin, k)));
  }
  return AX;
}

Tensor columns_of(const Tensor& X, const std::vector<int64_t>& columns) {
  return X.t().index_select(0, at::tensor(columns, at::kLong).to(X.device())).t();
}

double Ritz::scale() const {
  return value.empty() ? 0 : std::max(std::abs(value.front()), std::abs(value.back()));
}

Ritz ritz_pairs(const KrylovProcess& process) {
  auto [values, vectors] = at::linalg_eigh(process.projected());
  Tensor residuals = process.coupling().mm(vectors).norm(2, {0});
  return {values, vectors, to_vector(values), to_vector(residuals)};
}

std::vector<int64_t> wanted_indices(EigenTarget target, const std::vector<double>& ascending, int64_t count) {
  int64_t m = static_cast<int64_t>(ascending.size());
  count = std::min(count, m);
  std::vector<int64_t> up(m), down(m);
  std::iota(up.begin(), up.end(), 0);
  std::iota(down.rbegin(), down.rend(), 0);
  if (target == EigenTarget::smallest) return {up.begin(), up.begin() + count};
  if (target == EigenTarget::dominant)
    std::stable_sort(down.begin(), down.end(),
                     [&](int64_t a, int64_t b) { return std::abs(ascending[a]) > std::abs(ascending[b]); });
  std::vector<int64_t> wanted(down.begin(), down.begin() + count);
  if (target == EigenTarget::both) wanted.insert(wanted.end(), up.begin(), up.begin() + count);
  return wanted;
}

PairBlock pairs_of_recurrence(const VectorSpace& space, const KrylovProcess& process, const Ritz& ritz,
                              const std::vector<int64_t>& index) {
  Tensor S = columns_of(ritz.vectors, index), Y = process.combine(S), AY = process.known_product(S);
  Tensor W = whitening(space.gram(Y, Y));
  Tensor theta = ritz.values.index_select(0, at::tensor(index, at::kLong));
  PairBlock block{combine_columns_in_place(Y, W), combine_columns_in_place(AY, W), theta, {}};
  block.residual_gram = residual_gram(space, block);
  return block;
}

PairBlock rayleigh_ritz(const VectorSpace& space, const Tensor& Z, const Tensor& AZ, EigenTarget target,
                        int64_t count) {
  Tensor W = whitening(space.gram(Z, Z));
  Tensor H = W.mm(space.gram(Z, AZ)).mm(W);
  auto [all, U] = at::linalg_eigh((H + H.t()) / 2);
  if (target == EigenTarget::both) count = std::min(count, all.size(0) / 2);
  auto index = wanted_indices(target, to_vector(all), count);
  Tensor S = W.mm(columns_of(U, index)), theta = all.index_select(0, at::tensor(index, at::kLong));
  PairBlock block{combine_columns(Z, S), combine_columns(AZ, S), theta, {}};
  block.residual_gram = residual_gram(space, block);
  return block;
}

}  // namespace osculant
