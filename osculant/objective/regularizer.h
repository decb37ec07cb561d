#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>

#include "osculant/tensor/parameter_layout.h"

namespace osculant {

class Archive;
class DataRegularizer;
class Objective;

// R(theta), added to an objective's data terms. An immutable value: what it draws or carries from step to
// step is frozen in it, so that all evaluations within a step see one function, and `advanced` gives the next
// one. Implementations that need curvature live in curvature/.
class Regularizer {
 public:
  virtual ~Regularizer() = default;
  virtual std::string name() const = 0;

  // R at the layout's leaves: a scalar, twice differentiable with respect to them. Undefined: R depends on
  // the data as well (DataRegularizer).
  virtual Tensor value(const ParameterLayout& layout) const { return {}; }
  // What R contributes to Gauss-Newton products, V [n] or [n, k]: R'' V where R is convex and its Hessian at
  // hand. Undefined: nothing, and Gauss-Newton methods see R through value and gradient alone.
  virtual Tensor gauss_newton_product(const ParameterLayout& layout, const Tensor& V) const { return {}; }
  virtual const DataRegularizer* of_data() const { return nullptr; }

  // R as the next step sees it: fresh probes, vectors turned towards the eigenvectors at theta on the step's
  // data. The work is charged to `on`. Null: R stays as it is.
  virtual std::shared_ptr<const Regularizer> advanced(const Objective& on) const { return nullptr; }

  // What `advanced` has made, for a run that resumes. loaded: this R with the state in `archive`; null where
  // there is none.
  virtual void save(Archive& archive) const {}
  virtual std::shared_ptr<const Regularizer> loaded(const Archive& archive,
                                                    const ParameterLayout& layout) const {
    return nullptr;
  }
};

// Of what a regulariser of the data is a function: u [m, n], of the data terms alone.
enum class Feature {
  gradient,      // m = 1: g
  hessian,       // u_j = H p_j
  gauss_newton,  // u_j = G p_j
};

// R = phi(u): any function of the gradient or of products of a curvature matrix with fixed vectors p_j. As u
// is a sum over batches, value, gradient and Hessian products of R are exact on one batch, several and all
// data, whatever fits into memory at once:
//   R' = (du/dtheta)' phi'(u),   R'' v = (du/dtheta)' phi''(u) (du/dtheta v) + d2<phi'(u), u>/dtheta2 v.
class DataRegularizer : public Regularizer {
 public:
  const DataRegularizer* of_data() const override { return this; }
  virtual Feature feature() const = 0;
  // p_j, [m, n]; undefined for the gradient.
  virtual Tensor directions(const ParameterLayout& layout) const { return {}; }

  virtual double outer(const ParameterLayout& layout, const Tensor& u) const = 0;           // phi(u)
  virtual Tensor outer_gradient(const ParameterLayout& layout, const Tensor& u) const = 0;  // phi'(u), [m, n]
  // phi''(u) du, [m, n]; undefined where phi is linear.
  virtual Tensor outer_hessian_product(const ParameterLayout& layout, const Tensor& u,
                                       const Tensor& du) const {
    return {};
  }
};

}  // namespace osculant
