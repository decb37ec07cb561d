#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "osculant/objective/feature_graph.h"
#include "osculant/objective/linearization.h"

namespace osculant {

// The regularisers of the data among an objective's, R = phi(u), at a frozen theta. A Linearization brings
// the batches, in sweeps: one sums up u, one the gradient (du/dtheta)' phi'(u), two each block of products.
class Penalties {
 public:
  explicit Penalties(const Objective& objective);
  bool empty() const { return items_.empty(); }

  // What a batch's graph must be made for; `derivatives`: not for values alone.
  Needs needs(bool derivatives) const;
  using Features = std::vector<FeatureGraph>;  // of a batch, one a regulariser
  Features features(const BatchGraph& graph, bool derivatives) const;

  void restart();  // as if no sweep had been made

  // The first sweep. `term`: whose batch it is; of a function of the parameters the number of terms.
  void add(size_t term, const Features& features);
  // Once every term's scale is known: u, phi(u) and phi'(u).
  void settle(const std::vector<double>& scales);
  double value() const;

  // The second sweep. `again`: products will be asked for.
  void add_gradient(Features& features, double scale, bool again);
  void share_gradient();  // among processes
  void add_gradient_to(Tensor& gradient) const;
  // The graphs of features built anew, without touching the gradient.
  void keep_graphs(Features& features) const;

  // Products with columns v_1 .. v_k, rows of `result` [k, n]: d2<phi'(u), u> v and du/dtheta v, then the
  // rest.
  struct Products {
    // [column][regulariser]: du/dtheta v, then phi''(u) of it, undefined for zeros.
    std::vector<std::vector<Tensor>> du;
    bool bends = false;  // some phi is not linear: add_rest has something to add
  };
  Products products(int64_t columns) const;
  void add_products(Products& products, Tensor& result, const Tensor& columns, const Features& features,
                    double scale) const;
  void settle(Products& products) const;  // phi''(u) du
  void add_rest(const Products& products, Tensor& result, const Features& features, double scale) const;

  // "trace": the first whose value or gradient is not finite; "" where all are.
  std::string not_finite() const;

  // Prices on a batch beside that of its graph, of the last two for one column.
  double features_price() const;
  double gradient_price() const;
  double products_price() const;
  double rest_price() const { return gradient_price(); }
  int64_t feature_products() const;  // products with a curvature matrix in features

 private:
  struct Item {
    std::shared_ptr<const Regularizer> owner;
    const DataRegularizer* regularizer;
    Tensor directions;         // [m, n], undefined for the gradient
    std::vector<Tensor> sums;  // of each term, [m, n]
    Tensor u, w;               // w = phi'(u), a leaf
    Tensor gradient;           // of R, [n]
    double value = 0;

    double rows() const { return directions.defined() ? static_cast<double>(directions.size(0)) : 1; }
  };
  Objective objective_;
  std::vector<Item> items_;
};

}  // namespace osculant
