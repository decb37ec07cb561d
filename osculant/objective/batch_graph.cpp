#include "osculant/objective/batch_graph.h"

#include <torch/autograd.h>
#include <torch/types.h>

namespace osculant {
namespace {

using torch::autograd::grad;
using torch::autograd::variable_list;

enum class Graph { release, retain, create };  // after the pass: freed, usable again, differentiable again

// d outputs / d inputs along `weights`, leaving out outputs that carry no graph. Undefined where an input is
// not reached.
variable_list grad_of(const variable_list& outputs, const variable_list& inputs, const variable_list& weights,
                      Graph graph = Graph::retain) {
  variable_list reached, reached_weights;
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!outputs[i].defined() || !outputs[i].requires_grad()) continue;
    if (!weights.empty() && !weights[i].defined()) continue;
    reached.push_back(outputs[i]);
    if (!weights.empty()) reached_weights.push_back(weights[i]);
  }
  if (reached.empty()) return variable_list(inputs.size());
  return grad(reached, inputs, reached_weights, graph != Graph::release, graph == Graph::create,
              /*allow_unused=*/true);
}

}  // namespace

BatchGraph::BatchGraph(const Term& term, Batch batch, const Needs& needs)
    : layout_(&term.model.layout()), loss_(&*term.loss), batch_(std::move(batch)) {
  bool graph = needs.gradient || needs.hessian || needs.gauss_newton;
  at::AutoGradMode mode(graph);
  auto outputs = term.model.forward(batch_);
  for (const auto& z : outputs) outputs_size_ += z.numel();
  loss_->check(outputs, batch_);
  Tensor sum = loss_->sum(outputs, batch_);
  sum_ = sum.detach();
  denominator_ = loss_->denominator(outputs, batch_).detach();
  if (needs.gradient || needs.hessian) differentiate(sum, needs);
  if (!needs.gauss_newton) return;

  // J'u with u a dummy: linear in u, so that differentiating it by u along v gives J v.
  outputs_ = std::move(outputs);
  for (const auto& z : outputs_) {
    outputs_value_.push_back(z.detach());
    dummy_.push_back(at::zeros_like(outputs_value_.back()).requires_grad_(true));
  }
  pulled_dummy_ = grad_of(outputs_, layout_->leaves(), dummy_, Graph::create);
}

BatchGraph::BatchGraph(const ParameterLayout& layout, Tensor value, const Needs& needs) : layout_(&layout) {
  sum_ = value.detach();
  denominator_ = at::ones({}, sum_.options());
  if (needs.gradient || needs.hessian) differentiate(value, needs);
}

void BatchGraph::differentiate(const Tensor& sum, const Needs& needs) {
  Graph graph = needs.hessian ? Graph::create : needs.gauss_newton ? Graph::retain : Graph::release;
  gradient_ = grad_of({sum}, layout_->leaves(), {}, graph);
}

void BatchGraph::add_gradient(Tensor& flat) const {
  layout_->accumulate(flat, gradient_);
}

void BatchGraph::add_hessian_product(Tensor& flat, const std::vector<Tensor>& v, double scale) const {
  layout_->accumulate(flat, grad_of(gradient_, layout_->leaves(), v), scale);
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

Tensor BatchGraph::jacobian_product(const std::vector<Tensor>& v) const {
  auto Jv = push_forward(v);
  for (auto& part : Jv) part = part.reshape({-1});
  return at::cat(Jv);
}

void BatchGraph::add_jacobian_transpose_product(Tensor& flat, const Tensor& w) const {
  std::vector<Tensor> parts;
  int64_t begin = 0;
  for (const auto& z : outputs_value_) {
    parts.push_back(w.narrow(0, begin, z.numel()).view(z.sizes()));
    begin += z.numel();
  }
  pull_back(flat, parts, 1);
}

}  // namespace osculant
