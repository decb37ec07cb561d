#pragma once

#include <memory>
#include <string>
#include <vector>

#include "osculant/objective/regularizer.h"

namespace osculant {

// Parameters by glob, and a number for them.
struct ParameterRule {
  std::string match;  // "*.weight"
  double value = 0;
};

// One value a coordinate of theta, [n]: that of the last rule that matches its parameter, `otherwise` where
// none does. Throws Error(usage) for a rule that matches nothing.
Tensor per_coordinate(const ParameterLayout& layout, const std::vector<ParameterRule>& rules,
                      double otherwise);

// R(theta) = sum over i of d_i theta_i^2 / 2: weight decay as a part of the objective, so that it is in the
// value, in the gradient, in Hessian and Gauss-Newton products alike (its Gauss-Newton matrix is diag(d),
// that of the residuals sqrt(d_i) theta_i). d_i: `strength`, or what the last matching rule says.
std::shared_ptr<const Regularizer> weight_decay(double strength, std::vector<ParameterRule> rules = {});

}  // namespace osculant
