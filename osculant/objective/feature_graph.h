#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "osculant/objective/batch_graph.h"
#include "osculant/objective/regularizer.h"

namespace osculant {

// u of one batch, of the *sum* over its examples, and the autograd graphs that its derivatives are taken
// from.
class FeatureGraph {
 public:
  // `graph`: of the batch, made with feature_needs(). `differentiable`: keep the graph of u.
  FeatureGraph(const BatchGraph& graph, const ParameterLayout& layout, const DataRegularizer& regularizer,
               const Tensor& directions, bool differentiable);

  Tensor value() const { return u_.detach(); }  // u, [m, n]

  // flat += scale (du/dtheta)' w, w [m, n]
  void add_pull_back(Tensor& flat, const Tensor& w, double scale) const;
  // The same, and keeps its graph in theta and in w, a leaf: what add_second_product is taken from.
  void add_pull_back_with_graph(Tensor& flat, const Tensor& w, double scale);
  // flat += scale d2<w, u>/dtheta2 v; returns du/dtheta v, [m, n].
  Tensor add_second_product(Tensor& flat, const std::vector<Tensor>& v, double scale) const;

 private:
  template <class Function>
  auto differentiated(Function f) const;

  const ParameterLayout* layout_;
  std::string name_;
  Tensor u_;
  Tensor w_;
  std::vector<Tensor> pulled_back_;  // (du/dtheta)' w
};

// What the graph of a batch must be made for, so that features can be taken from it.
Needs feature_needs(Feature feature, bool differentiable);

}  // namespace osculant
