#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "osculant/model/output_loss.h"

namespace osculant {

// Derivatives of a batch's summed loss by its outputs, at detached outputs: no network takes part. Example
// weights of the batch are in the sum, so in these as well; a batch without weights gives those of each
// example's own loss.

// dl/dz, shaped like the outputs; zeros where the loss does not depend on one.
std::vector<Tensor> output_gradients(const OutputLoss::Implementation& loss,
                                     const std::vector<Tensor>& outputs, const Batch& batch);

Batch unweighted(Batch batch);  // the same batch without its example weights

// S [N, D, C] with S S' = d2l/dz2 of each example, D entries of z, and r = S^+ w, [N, C], w = dl/dz. The
// loss's own (OutputLoss::Implementation::hessian_root), or diagonal where the Hessian is, or by eigenvectors;
// eigenvalues below rounding, and negative ones, count as 0.
using OutputRoot = OutputLoss::Implementation::Root;
OutputRoot output_root(const OutputLoss::Implementation& loss, const Tensor& z, const Tensor& w,
                       const Batch& batch);

}  // namespace osculant
