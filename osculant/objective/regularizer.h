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
};

}  // namespace osculant
