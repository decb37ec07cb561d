#include "osculant/objective/feature_graph.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "osculant/base/error.h"
#include "osculant/objective/differentiate.h"

namespace osculant {

Needs feature_needs(Feature feature, bool differentiable) {
  if (feature == Feature::gauss_newton) return {.gauss_newton = true};
  bool twice = differentiable || feature == Feature::hessian;
  return {.gradient = !twice, .hessian = twice};
}

// Backward functions that are themselves not differentiable say so only when they are reached.
template <class Function>
auto FeatureGraph::differentiated(Function f) const {
  at::AutoGradMode mode(true);
  try {
    return f();
  } catch (const c10::Error& error) {
    std::string what = error.what_without_backtrace();
    if (what.find("derivative") == std::string::npos) throw;
    fail_usage(fmt::format(
        "regulariser {}: its gradient needs derivatives of the network that libtorch does not have: {}",
        name_, what.substr(0, what.find('\n'))));
  }
}

namespace {

// As ParameterLayout::flatten, with a graph.
Tensor joined(const ParameterLayout& layout, const std::vector<Tensor>& parts) {
  std::vector<Tensor> flat;
  for (size_t i = 0; i < parts.size(); ++i)
    flat.push_back(parts[i].defined() ? parts[i].reshape({-1})
                                      : at::zeros({layout.parameters()[i].size}, layout.options()));
  return at::cat(flat);
}

}  // namespace

FeatureGraph::FeatureGraph(const BatchGraph& graph, const ParameterLayout& layout,
                           const DataRegularizer& regularizer, const Tensor& directions, bool differentiable)
    : layout_(&layout), name_(regularizer.name()) {
  Graph after = differentiable ? Graph::create : Graph::retain;
  differentiated([&] {
    std::vector<Tensor> rows;
    if (regularizer.feature() == Feature::gradient) rows.push_back(joined(layout, graph.gradient()));
    for (int64_t j = 0; directions.defined() && j < directions.size(0); ++j) {
      auto p = layout.unflatten(directions[j]);
      rows.push_back(joined(layout, regularizer.feature() == Feature::hessian
                                        ? graph.hessian_product(p, after)
                                        : graph.gauss_newton_product(p, after)));
    }
    u_ = at::stack(rows);
    if (!differentiable) u_ = u_.detach();
  });
}

void FeatureGraph::add_pull_back(Tensor& flat, const Tensor& w, double scale) const {
  differentiated([&] { layout_->accumulate(flat, grad_of({u_}, layout_->leaves(), {w}), scale); });
}

void FeatureGraph::add_pull_back_with_graph(Tensor& flat, const Tensor& w, double scale) {
  differentiated([&] {
    w_ = w;
    pulled_back_ = grad_of({u_}, layout_->leaves(), {w_}, Graph::create);
    layout_->accumulate(flat, pulled_back_, scale);
  });
}

// (du/dtheta)'w is linear in w: differentiating it along v gives du/dtheta v by w and d2<w, u> v by theta.
Tensor FeatureGraph::add_second_product(Tensor& flat, const std::vector<Tensor>& v, double scale) const {
  return differentiated([&] {
    auto inputs = layout_->leaves();
    inputs.push_back(w_);
    auto found = grad_of(pulled_back_, inputs, v);
    Tensor du = found.back().defined() ? found.back() : at::zeros_like(w_).detach();
    found.pop_back();
    layout_->accumulate(flat, found, scale);
    return du;
  });
}

}  // namespace osculant
