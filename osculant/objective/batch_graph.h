#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <optional>
#include <vector>

#include "osculant/objective/differentiate.h"
#include "osculant/objective/linearization.h"

namespace osculant {

// The autograd graphs of one batch (or of the part of an objective that depends on the parameters alone) at a
// frozen theta: what a Linearization keeps or rebuilds. Everything is of the *sum* over the batch; the
// linearization divides. Products are accumulated: flat += scale * (product with v).
class BatchGraph {
 public:
  // Of a batch of one of the objective's terms. Graphs are made for what `needs` asks and no more.
  BatchGraph(const Term& term, Batch batch, const Needs& needs);
  // Of a scalar function of the parameters.
  BatchGraph(const ParameterLayout& layout, Tensor value, const Needs& needs);

  const Tensor& sum() const { return sum_; }                  // scalar, detached
  const Tensor& denominator() const { return denominator_; }  // scalar, detached
  int64_t outputs_size() const { return outputs_size_; }      // entries of all outputs

  const std::vector<Tensor>& gradient() const { return gradient_; }  // with a graph if made for hessian
  // Of the sum, parameter by parameter, undefined for zeros; differentiable again with Graph::create.
  std::vector<Tensor> hessian_product(const std::vector<Tensor>& v, Graph after) const;
  std::vector<Tensor> gauss_newton_product(const std::vector<Tensor>& v, Graph after) const;

  void add_gradient(Tensor& flat) const;
  void release_gradient() { gradient_.clear(); }  // when no Hessian product will need it
  void add_hessian_product(Tensor& flat, const std::vector<Tensor>& v, double scale) const;
  void add_gauss_newton_product(Tensor& flat, const std::vector<Tensor>& v, double scale) const;
  Tensor gauss_newton_gram(const std::vector<std::vector<Tensor>>& columns) const;  // [k, k], float64, CPU
  // J' M J v; `first`: place of the batch's first example among those of the term.
  void add_output_product(Tensor& flat, const std::vector<Tensor>& v, const OutputMap& M, size_t term,
                          int64_t first, double scale) const;
  Tensor jacobian_product(const std::vector<Tensor>& v) const;               // [outputs_size]
  void add_jacobian_transpose_product(Tensor& flat, const Tensor& w) const;  // w: [outputs_size]
  Tensor outputs() const;                                                    // [outputs_size]
  // flat += scale J'M (z - outputs()), M the loss's second derivative there, z [outputs_size].
  void add_gauss_newton_difference(Tensor& flat, const Tensor& z, double scale) const;

  // flat += scale * sum over examples of weights[i] times the gradient of its loss; weights [N].
  void add_weighted_gradient(Tensor& flat, const Tensor& weights, double scale) const;

  // A [m, n] and r [m] with A'A = sum of J' (d2 l / dz2) J over examples and A'r their gradient, as far as it
  // lies in A's range: A = S'J, S S' the output Hessian of an example, its negative eigenvalues taken as 0.
  // `passes`: backward passes it took. Rows come example by example, or column by column of S.
  struct Root {
    Tensor A, r;
    int64_t passes;
  };
  // `by_layers`: S'J of a batch and S [N, D, C] as [C, N, n], or nothing, for networks whose graph does not
  // tell.
  using LayerRoot = std::function<std::optional<Tensor>(const Batch& batch, const Tensor& S)>;
  Root gauss_newton_root(const LayerRoot& by_layers) const;

 private:
  void differentiate(const Tensor& sum, const Needs& needs);
  std::vector<Tensor> push_forward(const std::vector<Tensor>& v) const;
  void pull_back(Tensor& flat, const std::vector<Tensor>& w, double scale) const;

  const ParameterLayout* layout_;
  const OutputLoss::Implementation* loss_ = nullptr;
  Batch batch_;
  Tensor sum_, denominator_;
  int64_t outputs_size_ = 0;

  std::vector<Tensor> gradient_;  // d sum / d leaf, with a graph when Hessian products are needed
  std::vector<Tensor> outputs_;   // z, with their graph; detached copies beside them
  std::vector<Tensor> outputs_value_;
  std::vector<Tensor> dummy_;         // u
  std::vector<Tensor> pulled_dummy_;  // J'u, differentiable in u
};

}  // namespace osculant
