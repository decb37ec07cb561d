#include "osculant/curvature/outer_product.h"

#include <ATen/ATen.h>

namespace osculant {

Tensor example_dots(const std::vector<Tensor>& w, const std::vector<Tensor>& V) {
  Tensor dots;
  for (size_t i = 0; i < w.size(); ++i) {
    Tensor dot = (w[i] * V[i]).reshape({w[i].size(0), -1}).sum(1);
    dots = dots.defined() ? dots + dot : dot;
  }
  return dots;
}

std::vector<Tensor> scaled_by_example(const std::vector<Tensor>& w, const Tensor& c) {
  std::vector<Tensor> scaled;
  for (const auto& part : w) {
    std::vector<int64_t> rows(static_cast<size_t>(part.dim()), 1);
    rows[0] = part.size(0);
    scaled.push_back(part * c.to(part.scalar_type()).view(rows));
  }
  return scaled;
}

}  // namespace osculant
