#include "osculant/linop/block_diagonal.h"

#include <ATen/ATen.h>

#include <cmath>
#include <utility>

#include "osculant/linop/symmetric.h"

namespace osculant {
namespace {

// f(block, its rows of X) for all blocks, joined along a dimension of X.
template <class Function>
Tensor by_block(const std::vector<Tensor>& blocks, const Tensor& X, int64_t dimension, Function f) {
  if (blocks.size() == 1) return f(blocks[0], X);
  std::vector<Tensor> parts;
  int64_t begin = 0;
  for (const Tensor& block : blocks) {
    parts.push_back(f(block, X.narrow(dimension, begin, block.size(1))));
    begin += block.size(1);
  }
  return at::cat(parts, dimension);
}

// X B, X [..., groups, m, s] and B [groups, s, s]: the leading dimensions are rows.
Tensor times(const Tensor& X, const Tensor& B) {
  Tensor by_group = X.movedim(-3, 0);
  auto shape = by_group.sizes().vec();
  Tensor rows = by_group.reshape({shape[0], -1, shape.back()});
  Tensor product = shape[0] == 1 ? rows[0].mm(B[0]) : rows.bmm(B);
  return product.reshape(shape).movedim(0, -3);
}

}  // namespace

BlockDiagonal::BlockDiagonal(std::vector<Tensor> blocks) : blocks_(std::move(blocks)) {}

int64_t BlockDiagonal::size() const {
  int64_t size = 0;
  for (const Tensor& block : blocks_) size += block.size(1);
  return size;
}

Tensor BlockDiagonal::left(const Tensor& X, bool transposed) const {
  return by_block(blocks_, X, -2, [&](const Tensor& B, const Tensor& rows) {
    return is_dense(B) ? times(rows.mT(), transposed ? B : B.mT()).mT() : B.unsqueeze(2) * rows;
  });
}

Tensor BlockDiagonal::right(const Tensor& X, bool transposed) const {
  return by_block(blocks_, X, -1, [&](const Tensor& B, const Tensor& columns) {
    return is_dense(B) ? times(columns, transposed ? B.mT() : B) : B.unsqueeze(1) * columns;
  });
}

Tensor BlockDiagonal::diagonal() const {
  std::vector<Tensor> parts;
  for (const Tensor& B : blocks_) parts.push_back(is_dense(B) ? B.diagonal(0, 1, 2) : B);
  return at::cat(parts, 1);
}

Tensor BlockDiagonal::trace() const {
  return diagonal().sum(1, false, at::kDouble);
}

Tensor BlockDiagonal::squared_norm() const {
  Tensor sum;
  for (const Tensor& B : blocks_) {
    Tensor part = B.square().flatten(1).sum(1, false, at::kDouble);
    sum = sum.defined() ? sum + part : part;
  }
  return sum;
}

std::optional<BlockDiagonal> BlockDiagonal::mapped(const Function& f) const {
  std::vector<Tensor> results;
  for (const Tensor& B : blocks_) {
    auto result = f(B);
    if (!result) return std::nullopt;
    results.push_back(*result);
  }
  return BlockDiagonal(std::move(results));
}

std::optional<BlockDiagonal> shifted_inverse(const BlockDiagonal& S, const Tensor& shift) {
  return S.mapped([&](const Tensor& B) -> std::optional<Tensor> {
    if (is_dense(B)) return shifted_inverse(B, shift);
    Tensor inverse = (B + shift.to(B.options()).unsqueeze(1)).reciprocal();
    if (!(inverse > 0).all().item<bool>() || !std::isfinite(inverse.sum().item<double>()))
      return std::nullopt;
    return inverse;
  });
}

std::optional<BlockEigenpairs> block_eigenpairs(const BlockDiagonal& S) {
  std::vector<Tensor> values;
  auto vectors = S.mapped([&](const Tensor& B) -> std::optional<Tensor> {
    if (!is_dense(B)) {
      values.push_back(B);
      return at::ones_like(B);
    }
    auto found = symmetric_eigenpairs(B);
    if (!found) return std::nullopt;
    values.push_back(found->values.flip({1}));
    return found->vectors.flip({2}).contiguous();
  });
  if (!vectors) return std::nullopt;
  return BlockEigenpairs{*std::move(vectors), at::cat(values, 1)};
}

std::optional<RefreshedEigenpairs> refresh_eigenpairs(const BlockDiagonal& S, const BlockDiagonal& Q) {
  std::vector<Tensor> vectors, values, order;
  int64_t begin = 0;
  for (size_t i = 0; i < S.blocks().size(); ++i) {
    const Tensor &F = S.blocks()[i], &basis = Q.blocks()[i];
    int64_t s = F.size(1);
    if (!is_dense(F)) {
      vectors.push_back(basis);
      values.push_back(F);
      order.push_back(at::arange(begin, begin + s, F.options().dtype(at::kLong)).expand(F.sizes()));
    } else {
      Tensor FQ = F.matmul(basis);
      auto [quotients, by_size] = (basis * FQ).sum(1).sort(-1, /*descending=*/true);
      Tensor next = std::get<0>(at::linalg_qr(FQ.gather(2, by_size.unsqueeze(1).expand_as(FQ))));
      if (!std::isfinite(next.sum().item<double>())) return std::nullopt;
      vectors.push_back(next);
      values.push_back(quotients);
      order.push_back(by_size + begin);
    }
    begin += s;
  }
  return RefreshedEigenpairs{{BlockDiagonal(std::move(vectors)), at::cat(values, 1)}, at::cat(order, 1)};
}

}  // namespace osculant
