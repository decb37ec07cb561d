#include "osculant/objective/penalties.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>

#include "osculant/base/error.h"

namespace osculant {

Penalties::Penalties(const Objective& objective) : objective_(objective) {
  for (const auto& owner : objective.regularizers()) {
    const auto* regularizer = owner->of_data();
    if (regularizer == nullptr) continue;
    if (regularizer->feature() == Feature::gauss_newton && !objective.has_outputs())
      fail_usage(
          fmt::format("regulariser {}: the objective is a function of the parameters alone, which has "
                      "no Gauss-Newton matrix; take matrix = hessian",
                      owner->name()));
    Item item;
    item.owner = owner;
    item.regularizer = regularizer;
    item.directions = regularizer->directions(objective.layout());
    items_.push_back(std::move(item));
  }
  restart();
}

void Penalties::restart() {
  for (auto& item : items_) {
    item.sums.assign(objective_.terms().size() + 1, Tensor());
    item.u = Tensor();
  }
}

Needs Penalties::needs(bool derivatives) const {
  Needs needs;
  for (const auto& item : items_) needs = needs | feature_needs(item.regularizer->feature(), derivatives);
  return needs;
}

Penalties::Features Penalties::features(const BatchGraph& graph, bool derivatives) const {
  Features features;
  for (const auto& item : items_)
    features.emplace_back(graph, objective_.layout(), *item.regularizer, item.directions, derivatives);
  return features;
}

void Penalties::add(size_t term, const Features& features) {
  for (size_t r = 0; r < items_.size(); ++r) {
    Tensor& sum = items_[r].sums[term];
    sum = sum.defined() ? sum.add_(features[r].value()) : features[r].value().clone();
  }
}

void Penalties::settle(const std::vector<double>& scales) {
  const auto& layout = objective_.layout();
  for (auto& item : items_) {
    for (size_t t = 0; t < item.sums.size(); ++t) {
      if (!item.sums[t].defined()) continue;
      Tensor part = item.sums[t].mul_(t < scales.size() ? scales[t] : 1.0);
      item.u = item.u.defined() ? item.u.add_(part) : part;
    }
    objective_.communicator().all_reduce_sum(item.u);
    item.value = item.regularizer->outer(layout, item.u);
    item.gradient = at::zeros({objective_.parameters()}, layout.options());
    item.w = item.regularizer->outer_gradient(layout, item.u).detach().requires_grad_();
  }
}

double Penalties::value() const {
  double sum = 0;
  for (const auto& item : items_) sum += item.value;
  return sum;
}

void Penalties::add_gradient(Features& features, double scale, bool again) {
  for (size_t r = 0; r < items_.size(); ++r) {
    auto& item = items_[r];
    if (again)
      features[r].add_pull_back_with_graph(item.gradient, item.w, scale);
    else
      features[r].add_pull_back(item.gradient, item.w.detach(), scale);
  }
}

void Penalties::share_gradient() {
  for (auto& item : items_) objective_.communicator().all_reduce_sum(item.gradient);
}

void Penalties::add_gradient_to(Tensor& gradient) const {
  for (const auto& item : items_) gradient.add_(item.gradient);
}

void Penalties::keep_graphs(Features& features) const {
  Tensor unused = at::zeros({objective_.parameters()}, objective_.layout().options());
  for (size_t r = 0; r < items_.size(); ++r) features[r].add_pull_back_with_graph(unused, items_[r].w, 1);
}

Penalties::Products Penalties::products(int64_t columns) const {
  return {std::vector<std::vector<Tensor>>(static_cast<size_t>(columns), std::vector<Tensor>(items_.size()))};
}

void Penalties::add_products(Products& products, Tensor& result, const Tensor& columns,
                             const Features& features, double scale) const {
  for (size_t j = 0; j < products.du.size(); ++j) {
    auto at = static_cast<int64_t>(j);
    Tensor row = result[at];
    auto v = objective_.layout().unflatten(columns[at]);
    for (size_t r = 0; r < items_.size(); ++r) {
      Tensor du = features[r].add_second_product(row, v, scale) * scale;
      Tensor& sum = products.du[j][r];
      sum = sum.defined() ? sum.add_(du) : du;
    }
  }
}

void Penalties::settle(Products& products) const {
  for (auto& of_column : products.du)
    for (size_t r = 0; r < items_.size(); ++r) {
      objective_.communicator().all_reduce_sum(of_column[r]);
      of_column[r] =
          items_[r].regularizer->outer_hessian_product(objective_.layout(), items_[r].u, of_column[r]);
      products.bends = products.bends || of_column[r].defined();
    }
}

void Penalties::add_rest(const Products& products, Tensor& result, const Features& features,
                         double scale) const {
  for (size_t j = 0; j < products.du.size(); ++j) {
    Tensor row = result[static_cast<int64_t>(j)];
    for (size_t r = 0; r < items_.size(); ++r)
      if (products.du[j][r].defined()) features[r].add_pull_back(row, products.du[j][r], scale);
  }
}

std::string Penalties::not_finite() const {
  for (const auto& item : items_)
    if (!std::isfinite(item.value) || !item.gradient.isfinite().all().item<bool>())
      return item.regularizer->name();
  return "";
}

namespace {

double feature_price(Feature feature) {
  switch (feature) {
    case Feature::gradient:
      return 0;  // the graph's own
    case Feature::hessian:
      return Price::hessian_product;
    case Feature::gauss_newton:
      return Price::gauss_newton_product;
  }
  return 0;
}

double pull_back_price(Feature feature) {
  switch (feature) {
    case Feature::gradient:
      return Price::hessian_product;
    case Feature::hessian:
      return Price::hessian_derivative;
    case Feature::gauss_newton:
      return Price::gauss_newton_derivative;
  }
  return 0;
}

}  // namespace

double Penalties::features_price() const {
  double price = 0;
  for (const auto& item : items_) price += item.rows() * feature_price(item.regularizer->feature());
  return price;
}

double Penalties::gradient_price() const {
  double price = 0;
  for (const auto& item : items_) price += item.rows() * pull_back_price(item.regularizer->feature());
  return price;
}

// A pass back through the graph of a pass back.
double Penalties::products_price() const {
  return Price::second_pass * gradient_price();
}

int64_t Penalties::feature_products() const {
  int64_t products = 0;
  for (const auto& item : items_) products += item.directions.defined() ? item.directions.size(0) : 0;
  return products;
}

}  // namespace osculant
