#include "osculant/model/consistency.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>

namespace osculant {
namespace {

// The largest difference over the first `count` entries along the first dimension, relative.
double difference(const Model::Outputs& a, const Model::Outputs& b, int64_t count) {
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].numel() == 0) continue;
    int64_t rows = std::min(count, a[i].size(0));
    double scale = a[i].abs().max().item<double>();
    double apart = (a[i] - b[i]).narrow(0, 0, rows).abs().max().item<double>();
    if (apart > 0) most = std::max(most, apart / scale);
  }
  return most;
}

bool batched(const Model::Outputs& outputs, int64_t size) {
  return std::all_of(outputs.begin(), outputs.end(),
                     [&](const Tensor& output) { return output.dim() > 0 && output.size(0) == size; });
}

}  // namespace

Consistency consistency(const Model& model, const Batch& batch) {
  at::NoGradGuard no_grad;
  Batch here = batch.to(model.device(), model.dtype());
  int64_t size = here.size(), half = size / 2;
  Model::Outputs once = model.forward(here), again = model.forward(here);
  Consistency found;
  found.rounding = 1000 * (model.dtype() == at::kDouble ? 0x1p-52 : 0x1p-23);
  found.repeated = difference(once, again, size);
  if (half == 0 || !found.deterministic() || !batched(once, size)) {
    found.coupled = std::nan("");
    return found;
  }
  // The first half stays, the second half becomes the first.
  Tensor indices = at::arange(size, at::kLong).remainder(size - half);
  found.coupled = difference(once, model.forward(here.select(indices)), size - half);
  return found;
}

}  // namespace osculant
