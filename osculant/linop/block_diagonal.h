#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace osculant {

using at::Tensor;

// A square matrix for each of some groups, with blocks down its diagonal that are dense, [groups, s, s], or
// diagonal themselves, [groups, s]. One dense block is a dense matrix, one diagonal block a diagonal one.
class BlockDiagonal {
 public:
  BlockDiagonal() = default;
  explicit BlockDiagonal(std::vector<Tensor> blocks);  // at least one

  const std::vector<Tensor>& blocks() const { return blocks_; }
  int64_t groups() const { return blocks_.front().size(0); }
  int64_t size() const;  // d, the sum of s

  // B X or B'X, X [..., groups, d, m]; X B or X B', X [..., groups, m, d].
  Tensor left(const Tensor& X, bool transposed = false) const;
  Tensor right(const Tensor& X, bool transposed = false) const;

  Tensor diagonal() const;      // [groups, d]
  Tensor trace() const;         // [groups], float64
  Tensor squared_norm() const;  // of Frobenius, [groups], float64

  // Each block by a function of it, which may leave one out as not to be had; nothing then.
  using Function = std::function<std::optional<Tensor>(const Tensor& block)>;
  std::optional<BlockDiagonal> mapped(const Function& f) const;

 private:
  std::vector<Tensor> blocks_;
};

inline bool is_dense(const Tensor& block) {
  return block.dim() == 3;
}

// For a symmetric S: (S + shift I)^-1, shift [groups]. Nothing where a block is not positive definite.
std::optional<BlockDiagonal> shifted_inverse(const BlockDiagonal& S, const Tensor& shift);

// For a symmetric S = Q diag(values) Q': Q, ones for a diagonal block, and values [groups, d], of each block
// falling. Nothing where they cannot be had.
struct BlockEigenpairs {
  BlockDiagonal vectors;
  Tensor values;
};
std::optional<BlockEigenpairs> block_eigenpairs(const BlockDiagonal& S);

// The same from eigenvectors Q that S had before it changed a little, by a step of orthogonal iteration: the
// Q factor of S Q, the columns of Q ordered by q'S q, largest first, and with `order` [groups, d] which
// column of Q each one comes from. Values are q'S q.
struct RefreshedEigenpairs : BlockEigenpairs {
  Tensor order;
};
std::optional<RefreshedEigenpairs> refresh_eigenpairs(const BlockDiagonal& S, const BlockDiagonal& Q);

}  // namespace osculant
