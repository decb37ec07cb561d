#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "osculant/tensor/parameter_layout.h"

namespace osculant {

// R(theta), added to an objective's data terms. Implementations that need curvature live in curvature/.
class Regularizer {
 public:
  virtual ~Regularizer() = default;
  virtual std::string name() const = 0;
  // R at the layout's leaves: a scalar, twice differentiable with respect to them.
  virtual Tensor value(const ParameterLayout& layout) const = 0;
  // What R contributes to Gauss-Newton products, V [n] or [n, k]: R'' V where R is convex and its Hessian at
  // hand. Undefined: nothing, and Gauss-Newton methods see R through value and gradient alone.
  virtual Tensor gauss_newton_product(const ParameterLayout& layout, const Tensor& V) const { return {}; }
};

}  // namespace osculant
