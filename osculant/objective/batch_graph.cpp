#include "osculant/objective/batch_graph.h"

#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include "osculant/base/error.h"
#include "osculant/linop/vector_space.h"
#include "osculant/objective/differentiate.h"
#include "osculant/objective/output_derivatives.h"
#include "osculant/objective/output_jacobian.h"

namespace osculant {
using torch::autograd::variable_list;

variable_list grad_of(const variable_list& outputs, const variable_list& inputs, const variable_list& weights,
                      Graph graph) {
  variable_list reached, reached_weights;
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!outputs[i].defined() || !outputs[i].requires_grad()) continue;
    if (!weights.empty() && !weights[i].defined()) continue;
    reached.push_back(outputs[i]);
    if (!weights.empty()) reached_weights.push_back(weights[i]);
  }
  if (reached.empty()) return variable_list(inputs.size());
  return torch::autograd::grad(reached, inputs, reached_weights, graph != Graph::release,
                               graph == Graph::create, /*allow_unused=*/true);
}

BatchGraph::BatchGraph(const Term& term, Batch batch, const Needs& needs)
    : layout_(&term.model.layout()), loss_(&*term.loss), batch_(std::move(batch)) {
  bool graph = needs.gradient || needs.hessian || needs.gauss_newton || needs.jacobian;
  at::AutoGradMode mode(graph);
  auto outputs = term.model.forward(batch_);
  for (const auto& z : outputs) outputs_size_ += z.numel();
  loss_->check(outputs, batch_);
  Tensor sum = loss_->sum(outputs, batch_);
  sum_ = sum.detach();
  denominator_ = loss_->denominator(outputs, batch_).detach();
  if (needs.gradient || needs.hessian) differentiate(sum, needs);
  if (!needs.gauss_newton && !needs.jacobian && !needs.outputs) return;

  outputs_ = std::move(outputs);
  for (const auto& z : outputs_) outputs_value_.push_back(z.detach());
  if (!needs.gauss_newton) return;
  // J'u with u a dummy: linear in u, so that differentiating it by u along v gives J v.
  for (const auto& z : outputs_value_) dummy_.push_back(at::zeros_like(z).requires_grad_(true));
  pulled_dummy_ = grad_of(outputs_, layout_->leaves(), dummy_, Graph::create);
}

BatchGraph::BatchGraph(const ParameterLayout& layout, Tensor value, const Needs& needs) : layout_(&layout) {
  sum_ = value.detach();
  denominator_ = at::ones({}, sum_.options());
  if (needs.gradient || needs.hessian) differentiate(value, needs);
}

void BatchGraph::differentiate(const Tensor& sum, const Needs& needs) {
  Graph graph = needs.hessian                          ? Graph::create
                : needs.gauss_newton || needs.jacobian ? Graph::retain
                                                       : Graph::release;
  gradient_ = grad_of({sum}, layout_->leaves(), {}, graph);
}

void BatchGraph::add_gradient(Tensor& flat) const {
  layout_->accumulate(flat, gradient_);
}

void BatchGraph::add_hessian_product(Tensor& flat, const std::vector<Tensor>& v, double scale) const {
  layout_->accumulate(flat, grad_of(gradient_, layout_->leaves(), v), scale);
}

std::vector<Tensor> BatchGraph::hessian_product(const std::vector<Tensor>& v, Graph after) const {
  return grad_of(gradient_, layout_->leaves(), v, after);
}

// J' (d2 l / dz2) (J v) from the graph of z: aliases keep outputs that are made of each other apart.
std::vector<Tensor> BatchGraph::gauss_newton_product(const std::vector<Tensor>& v, Graph after) const {
  auto Jv = grad_of(pulled_dummy_, dummy_, v, after);
  variable_list z, varied, sources, directions;
  for (size_t i = 0; i < outputs_.size(); ++i) {
    z.push_back(at::alias(outputs_[i]));
    if (!z[i].requires_grad()) continue;
    varied.push_back(z[i]);
    sources.push_back(outputs_[i]);
    directions.push_back(Jv[i]);
  }
  if (varied.empty()) return variable_list(layout_->leaves().size());
  auto w = grad_of({loss_->sum(z, batch_)}, varied, {}, Graph::create);
  return grad_of(sources, layout_->leaves(), grad_of(w, varied, directions, after), after);
}

std::vector<Tensor> BatchGraph::push_forward(const std::vector<Tensor>& v) const {
  auto Jv = grad_of(pulled_dummy_, dummy_, v);
  for (size_t i = 0; i < Jv.size(); ++i)
    if (!Jv[i].defined()) Jv[i] = at::zeros_like(outputs_value_[i]);
  return Jv;
}

void BatchGraph::pull_back(Tensor& flat, const std::vector<Tensor>& w, double scale) const {
  layout_->accumulate(flat, grad_of(outputs_, layout_->leaves(), w), scale);
}

// G v = J' (d2 l / dz2) (J v)
void BatchGraph::add_gauss_newton_product(Tensor& flat, const std::vector<Tensor>& v, double scale) const {
  pull_back(flat, loss_->hessian_product(outputs_value_, batch_, push_forward(v)), scale);
}

// (J V)' (d2 l / dz2) (J V)
Tensor BatchGraph::gauss_newton_gram(const std::vector<std::vector<Tensor>>& columns) const {
  std::vector<Tensor> pushed, curved;
  auto row = [](const std::vector<Tensor>& parts) {
    std::vector<Tensor> flat;
    for (const Tensor& part : parts) flat.push_back(part.reshape({-1}));
    return at::cat(flat);
  };
  for (const auto& v : columns) {
    auto Jv = push_forward(v);
    pushed.push_back(row(Jv));
    curved.push_back(row(loss_->hessian_product(outputs_value_, batch_, Jv)));
  }
  VectorSpace space(outputs_size_, pushed[0].options());
  return space.gram(at::stack(pushed).t(), at::stack(curved).t());
}

void BatchGraph::add_output_product(Tensor& flat, const std::vector<Tensor>& v, const OutputMap& M,
                                    size_t term, int64_t first, double scale) const {
  pull_back(flat, M({term, first, batch_, *loss_, outputs_value_}, push_forward(v)), scale);
}

namespace {

Tensor joined(std::vector<Tensor> parts) {
  for (auto& part : parts) part = part.reshape({-1});
  return at::cat(parts);
}

std::vector<Tensor> shaped_like(const std::vector<Tensor>& outputs, const Tensor& flat) {
  std::vector<Tensor> parts;
  int64_t begin = 0;
  for (const auto& z : outputs) {
    parts.push_back(flat.narrow(0, begin, z.numel()).view(z.sizes()));
    begin += z.numel();
  }
  return parts;
}

}  // namespace

Tensor BatchGraph::jacobian_product(const std::vector<Tensor>& v) const {
  return joined(push_forward(v));
}

Tensor BatchGraph::outputs() const {
  return joined(outputs_value_);
}

void BatchGraph::add_jacobian_transpose_product(Tensor& flat, const Tensor& w) const {
  pull_back(flat, shaped_like(outputs_value_, w), 1);
}

void BatchGraph::add_gauss_newton_difference(Tensor& flat, const Tensor& z, double scale) const {
  auto change = shaped_like(outputs_value_, z - outputs());
  pull_back(flat, loss_->hessian_product(outputs_value_, batch_, change), scale);
}

void BatchGraph::add_weighted_gradient(Tensor& flat, const Tensor& weights, double scale) const {
  at::AutoGradMode mode(true);
  variable_list at_z;
  for (const auto& z : outputs_value_) at_z.push_back(z.detach().requires_grad_(true));
  auto w = grad_of({loss_->sum(at_z, batch_)}, at_z, {}, Graph::release);
  for (auto& part : w) {
    if (!part.defined()) continue;
    std::vector<int64_t> rows(static_cast<size_t>(part.dim()), 1);
    rows[0] = part.size(0);
    part = part * weights.view(rows);
  }
  pull_back(flat, w, scale);
}

BatchGraph::Root BatchGraph::gauss_newton_root(const LayerRoot& by_layers) const {
  if (outputs_.size() != 1)
    fail_usage(
        fmt::format("the dense Jacobian: of models with one output; this one gives {}", outputs_.size()));
  const Tensor& z = outputs_value_[0];
  int64_t N = z.size(0);
  Tensor w = output_gradients(*loss_, outputs_value_, batch_)[0];
  const OutputRoot root = output_root(*loss_, z, w, batch_);
  const Tensor &S = root.S, &r = root.r;

  int64_t C = S.size(2), n = layout_->size(), passes = 0;
  // Examples that mix, or rows in another order, show in A'r: it must be J' S r.
  double u = VectorSpace(1, z.options()).epsilon();
  Tensor expected;
  auto right = [&](const Tensor& A, const Tensor& residual) {
    if (!expected.defined()) {
      Tensor Sr = S.matmul(r.unsqueeze(2)).view(z.sizes());
      if (!gradient_.empty() && ((Sr - w).norm() <= 100 * u * w.norm()).item<bool>()) {
        expected = layout_->flatten(gradient_);
      } else {
        expected = at::zeros({n}, z.options());
        pull_back(expected, {Sr}, 1);
        ++passes;
      }
    }
    Tensor difference = (A.t().mv(residual) - expected).norm();
    // Of each row by itself: residuals of examples that are confidently wrong are large where rows are small.
    Tensor size = (A.norm(2, 1) * residual.abs()).norm();
    return (difference <= 1000 * u * size).item<bool>();
  };
  if (auto A = layerwise_jacobian(outputs_[0], S, *layout_)) {
    passes += C;
    Tensor rows = A->view({N * C, n}), residual = r.reshape({-1});
    if (right(rows, residual)) return {rows, residual, passes};
  }
  if (auto by_columns = by_layers(batch_, S)) {
    Tensor rows = by_columns->view({C * N, n}), residual = r.t().reshape({-1});
    if (right(rows, residual)) return {rows, residual, passes};
  }
  return {rowwise_jacobian(outputs_[0], S, *layout_).view({N * C, n}), r.reshape({-1}), passes + N * C};
}

}  // namespace osculant
