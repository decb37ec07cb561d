#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "osculant/tensor/batch.h"

namespace osculant {

// A number that says how good outputs are, beside the loss. Over a data set it is
// finish(total numerator / total denominator) over all batches, so ragged batches are exact.
struct OutputMetric {
  using Outputs = std::vector<Tensor>;
  // Numerator and denominator of a batch: float64 scalars on the outputs' device, no transfer to the host.
  using Parts = std::function<std::pair<Tensor, Tensor>(const Outputs& outputs, const Batch& batch)>;

  std::string name;
  bool higher_is_better = false;
  Parts parts;
  std::function<double(double)> finish = [](double ratio) { return ratio; };
};

// The known metrics, for a model trained with the loss of that name (OutputLoss::name), which says what its
// outputs mean: logits for "binary_cross_entropy" are turned into probabilities, log rates for "poisson" into
// rates, class scores for "cross_entropy" into a class.
//
//   accuracy       share of examples (positions, entries) whose class is right; cross entropies only
//   squared_error  sum over an example's outputs of (p - y)^2, mean over examples
//   relative_l2    sqrt(sum (p - y)^2 / sum y^2) over everything
//
// The batch's example weights count in all of them. Throws Error(usage) for a name it does not know, or a
// metric that the loss's outputs have no meaning for.
OutputMetric find_metric(const std::string& name, const std::string& loss);
std::vector<std::string> metric_names();

}  // namespace osculant
