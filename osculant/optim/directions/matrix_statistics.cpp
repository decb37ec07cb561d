#include "osculant/optim/directions/matrix_statistics.h"

#include <ATen/ATen.h>

namespace osculant {

void TwoSidedGroup::update_factors(const Tensor& gradient, double beta, double alpha, at::ScalarType dtype) {
  Tensor G = group.of(gradient).to(dtype);
  if (left.factor.defined()) add_gram(left.factor, G.mT(), beta, alpha);
  if (right.factor.defined()) add_gram(right.factor, G, beta, alpha);
}

std::vector<TwoSidedGroup> two_sided(const std::vector<MatrixGroup>& groups, const at::TensorOptions& options,
                                     const std::function<bool(int64_t)>& has_side) {
  auto side = [&](int64_t count, int64_t d) {
    if (!has_side(d)) return MatrixSide{};
    Tensor identity = at::eye(d, options).expand({count, d, d}).contiguous();
    return MatrixSide{at::zeros_like(identity), identity};
  };
  std::vector<TwoSidedGroup> all;
  for (const auto& group : groups)
    all.push_back({group, side(group.count(), group.rows()), side(group.count(), group.columns())});
  return all;
}

}  // namespace osculant
