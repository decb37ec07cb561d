#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "osculant/base/random.h"
#include "osculant/linop/linear_operator.h"
#include "osculant/spectrum/functions.h"
#include "osculant/tensor/layer_blocks.h"

namespace osculant {

// Products of a symmetric A with vectors that live in one layer each, and what they show of the blocks A_ab
// (sparsity.h says how). Squared norms throughout.
class LayerProducts {
 public:
  LayerProducts(const LinearOperator& A, const std::vector<LayerBlock>& blocks, uint64_t seed,
                std::function<bool(int64_t products)> progress);

  // One of them, once: `probes` products in each layer, or all of its columns; or all from the matrix.
  void multiply(int64_t probes);
  void take(const Tensor& matrix);  // float64, CPU

  // A E for unit vectors E; undefined, like all that comes after, once there is trouble.
  Tensor columns(const std::vector<int64_t>& positions);
  // Why work could not go on; empty while it can.
  const std::string& trouble() const { return trouble_; }

  using Wanted = std::function<bool(int64_t a, int64_t b)>;
  Measured energy(const Wanted& wanted, double confidence) const;  // sum of norm_F(A_ab)^2 over pairs
  Measured block(int64_t a, int64_t b, double confidence) const;   // norm_F(A_ab)^2, from both sides
  Measured off_diagonal(double confidence) const;                  // sum of A_ij^2, i != j in one layer

  // The largest abs(A_ii) of those computed: whole layers, and those that the probes make largest.
  double largest_diagonal();

 private:
  // Of one layer.
  struct Seen {
    bool exact = false;
    Tensor squares;           // float64 [probes, layers], CPU: norm(A_ab z)^2; exact: [1, layers], their sums
    double off_diagonal = 0;  // sum of A_ij^2, i != j in the layer
  };

  int64_t layers() const { return static_cast<int64_t>(blocks_.size()); }
  Tensor rows(const Tensor& X, int64_t a) const { return X.narrow(0, blocks_[a].offset, blocks_[a].size); }
  Tensor products(const Tensor& Z);
  Tensor squares_by_layer(const Tensor& Y) const;
  Seen all_columns(int64_t b);
  Seen some_probes(int64_t b, int64_t probes);
  void add_candidates(const Tensor& magnitude, int64_t b);

  const LinearOperator& A_;
  const std::vector<LayerBlock> blocks_;
  RandomStream random_;
  std::function<bool(int64_t)> progress_;
  int64_t before_, probes_ = 0;
  std::vector<Seen> seen_;
  std::vector<std::pair<double, int64_t>> candidates_;  // diagonal entries, as estimated, and where
  double largest_diagonal_ = 0;
  std::string trouble_;
};

// Columns that are computed in search of the largest diagonal entry.
inline constexpr int64_t diagonal_candidates = 8;

}  // namespace osculant
