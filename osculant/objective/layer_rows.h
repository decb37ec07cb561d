#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "osculant/objective/layer_factors.h"

namespace osculant {

// Rows of derivatives of a batch, (c, i) = the derivative of <cotangent_ci, z_i> by theta: gradients of
// examples from LayerFactors::loss_gradient, the root of Gauss-Newton from hessian_root, the Jacobian from
// unit vectors. By layer from factors that are made once; parameters that the layers do not tell take a pass
// of autograd a row, which counts as one.
class LayerRows {
 public:
  // Keeps a reference to the factors. `budget`: bytes of a temporary beside the result.
  LayerRows(const LayerFactors& factors, const LayerFactors::Cotangents& cotangents, int64_t budget);

  int64_t columns() const { return columns_; }  // C
  int64_t examples() const { return factors_->examples(); }

  // [C, N, n]. Throws Error(memory) where that is above the budget.
  Tensor dense() const;

  // J v, [C, N]: for each use sum over t of d_it' M(v) a_it.
  Tensor products_with(const Tensor& v) const;

  // Squared norms, [C, N]; no row of theta's length is formed but for shared weights.
  Tensor squared_norms() const;

  // Inner products with the rows of another batch of the same objective, [C, N, C', N']. A use without
  // sharing, T = 1, gives (a_i . a_j)(d_i . d_j), one elementwise product of two Gram matrices; for T > 1 the
  // sum over pairs of positions, or products of the use's own rows, whichever is less work. Tied weights are
  // added up in rows of their own, which must fit the budget.
  Tensor products_with(const LayerRows& other) const;

 private:
  struct Share;  // of theta: one use, or all that share a weight
  std::vector<Share> shares() const;
  Tensor rows_of(const Share& share, int64_t first, int64_t count) const;
  Tensor rest_of_theta(const LayerFactors::Cotangents& cotangents);
  int64_t chunk(int64_t bytes_per_example) const;

  const LayerFactors* factors_;
  int64_t columns_, budget_;
  std::vector<Tensor> d_;                  // of each use
  std::vector<ParameterPart> rest_parts_;  // untapped parameters; before rest_, whose making fills it
  Tensor rest_;                            // [C, N, their entries], or undefined
};

}  // namespace osculant
