#include "osculant/tensor/batch.h"

#include <ATen/ATen.h>

namespace osculant {
namespace {

template <class Function>
Batch transform(const Batch& batch, Function f) {
  Batch out;
  for (const auto& [name, tensor] : batch.inputs) out.inputs.push_back({name, f(tensor)});
  for (const auto& [name, tensor] : batch.targets) out.targets.push_back({name, f(tensor)});
  if (batch.weights.defined()) out.weights = f(batch.weights);
  return out;
}

}  // namespace

Batch Batch::to(at::Device device, at::ScalarType dtype) const {
  return transform(*this, [&](const Tensor& t) {
    return t.to(t.options().device(device).dtype(t.is_floating_point() ? dtype : t.scalar_type()));
  });
}

Batch Batch::slice(int64_t begin, int64_t end) const {
  return transform(*this, [&](const Tensor& t) { return t.narrow(0, begin, end - begin); });
}

Batch Batch::select(const Tensor& indices) const {
  return transform(*this, [&](const Tensor& t) { return t.index_select(0, indices.to(t.device())); });
}

}  // namespace osculant
