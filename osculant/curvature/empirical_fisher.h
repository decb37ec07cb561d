#pragma once

#include <memory>
#include <string>

#include "osculant/linop/linear_operator.h"
#include "osculant/objective/linearization.h"

namespace osculant {

// Second moments of the gradients of single examples, at the targets of the data. With p_i = w_i / sum w the
// share of example i (1 / N without example weights) and f = sum of p_i f_i, of the data terms alone:
//
//   E = sum of p_i g_i g_i',   C = E - g g',   g_i the gradient of f_i, g = sum of p_i g_i.
//
// A product is J v, an inner product for each example and J'w: what a Gauss-Newton product costs, and no
// matrix of gradients is formed. f_i is the loss as the objective averages it; for one that averages over K
// outputs E is therefore K times smaller than on the scale of F. Both refuse, with Error(usage), objectives
// of several terms and models that couple examples: single examples have no gradient there.

// Throws Error(usage) unless single examples have gradients of their own; `what` begins the message.
void require_single_gradients(const Objective& objective, const std::string& what);

// E, called empirical Fisher, is neither the Fisher matrix, whose targets are the network's own, nor an
// approximation of the Hessian in general (Kunstner, Balles & Hennig 2019). Positive semidefinite, of rank at
// most N.
class EmpiricalFisher : public LinearOperator {
 public:
  explicit EmpiricalFisher(const Objective& objective);
  bool symmetric() const override { return true; }
  bool positive_semidefinite() const override { return true; }

 protected:
  Tensor apply_block(const Tensor& X) const override;

 private:
  std::shared_ptr<Linearization> linearization_;
  double factor_;
};

// C, the covariance of the gradients of single examples: that of a mini-batch's gradient, times the batch
// size. Positive semidefinite, of rank at most N - 1.
class GradientCovariance : public LinearOperator {
 public:
  explicit GradientCovariance(const Objective& objective);
  bool symmetric() const override { return true; }
  bool positive_semidefinite() const override { return true; }
  const Tensor& gradient() const { return linearization_->gradient(); }  // g, of the data terms

 protected:
  Tensor apply_block(const Tensor& X) const override;

 private:
  std::shared_ptr<Linearization> linearization_;
  double factor_;
};

}  // namespace osculant
