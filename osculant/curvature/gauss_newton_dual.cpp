#include "osculant/curvature/gauss_newton_dual.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "osculant/base/cost.h"
#include "osculant/base/error.h"
#include "osculant/base/text.h"
#include "osculant/curvature/example_gradients.h"
#include "osculant/objective/differentiate.h"
#include "osculant/objective/output_derivatives.h"

namespace osculant {
namespace {

bool told_by_layers(const Objective& objective) {
  if (!objective.has_outputs() || objective.terms().size() != 1) return false;
  const Model& model = objective.terms()[0].model;
  if (model.couples_examples() || objective.examples() == 0) return false;
  Batch batch = objective.batch(0, 0);
  if (model.required_batch_size() == 0) batch = batch.slice(0, std::min<int64_t>(batch.size(), 16));
  LayerFactors factors(objective, 0, batch);
  return factors.outputs().size() == 1 && factors.untapped().empty();
}

// Roots of what an example's own terms are multiplied by, [N, 1].
Tensor example_roots(const Objective& objective, const Batch& batch, double scale) {
  auto options = objective.layout().options();
  Tensor weights = batch.weights.defined() ? batch.weights.to(options) : at::ones({batch.size()}, options);
  return (weights * scale).sqrt().unsqueeze(1);
}

double scale_of(const Objective& objective) {
  return objective.without_regularizers().linearize({})->scale(0);
}

LayerFactors::Cotangents root(const LayerFactors& factors) {
  return factors.hessian_root();
}

// Which positions are whose matters to rows alone, and not to outputs.
void visit_factors(const Objective& objective, bool rows,
                   const std::function<void(const LayerFactors&, const Batch&)>& visit) {
  for (int64_t b = 0; b < objective.terms()[0].data.batches(); ++b) {
    Batch batch = objective.batch(0, b);
    visit(LayerFactors(objective, 0, batch, {.verify = rows}), batch);
  }
}

}  // namespace

std::optional<GaussNewtonDual> gauss_newton_dual(const Objective& objective) {
  if (!told_by_layers(objective)) return std::nullopt;
  double scale = scale_of(objective);
  std::vector<Tensor> residuals, roots;
  visit_factors(objective, false, [&](const LayerFactors& factors, const Batch& batch) {
    const auto& loss = *objective.terms()[0].loss;
    Tensor z = factors.outputs()[0].detach();
    Batch own = unweighted(batch);
    Tensor r = output_root(loss, z, output_gradients(loss, {z}, own)[0], own).r;
    Tensor root = example_roots(objective, batch, scale);
    residuals.push_back((r * root).flatten());
    roots.push_back(root.expand_as(r).flatten());
  });
  GaussNewtonDual dual{{}, at::cat(residuals)};
  Tensor s = at::cat(roots);
  int64_t m = s.numel(), bytes = m * m * static_cast<int64_t>(s.element_size());
  if (bytes > objective.memory_budget())
    fail(ErrorKind::memory,
         fmt::format(
             "the dual Gauss-Newton matrix: {} x {} entries would take {}, the memory budget is {}; take "
             "smaller batches, or hessian_free",
             m, m, format_bytes(bytes), format_bytes(objective.memory_budget())));
  dual.gram = at::empty({m, m}, s.options());
  visit_row_products(objective, root, 1, [&](int64_t row, int64_t column, const Tensor& block) {
    Tensor left = s.narrow(0, row, block.size(0)).unsqueeze(1), right = s.narrow(0, column, block.size(1));
    Tensor scaled = block * left * right;
    dual.gram.narrow(0, row, block.size(0)).narrow(1, column, block.size(1)).copy_(scaled);
    if (row != column)
      dual.gram.narrow(0, column, block.size(1)).narrow(1, row, block.size(0)).copy_(scaled.t());
  });
  return dual;
}

Tensor root_transpose_product(const Objective& objective, const Tensor& w) {
  double scale = scale_of(objective);
  Tensor result = at::zeros({objective.parameters()}, objective.layout().options());
  int64_t begin = 0;
  visit_factors(objective, false, [&](const LayerFactors& factors, const Batch& batch) {
    Tensor S = factors.hessian_root()[0];  // [C, N, ...]
    int64_t C = S.size(0), N = S.size(1);
    Tensor share = w.narrow(0, begin, N * C).view({N, C}) * example_roots(objective, batch, scale);
    Tensor u = (S.flatten(2) * share.t().unsqueeze(2)).sum(0).view_as(factors.outputs()[0]);
    const auto& layout = objective.layout();
    layout.accumulate(result, grad_of(factors.outputs(), layout.leaves(), {u}));
    objective.charge(Price::jacobian_transpose_product, static_cast<double>(N));
    begin += N * C;
  });
  return result;
}

Tensor root_product(const Objective& objective, const Tensor& v) {
  double scale = scale_of(objective);
  std::vector<Tensor> parts;
  visit_factors(objective, true, [&](const LayerFactors& factors, const Batch& batch) {
    LayerRows rows(factors, factors.hessian_root(), objective.memory_budget());
    parts.push_back((rows.products_with(v).t() * example_roots(objective, batch, scale)).flatten());
  });
  return at::cat(parts);
}

}  // namespace osculant
