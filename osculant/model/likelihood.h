#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>

namespace osculant {

using at::Tensor;

// A distribution of targets y given a network's outputs z. A loss has one (OutputLoss::Implementation::
// likelihood) where an example's loss, summed over its outputs, is -log p(y | z) up to terms free of z. Then
// the Fisher matrix of the outputs, E[(dl/dz)(dl/dz)'] over y ~ p(. | z), is the loss's second derivative.
class Likelihood {
 public:
  virtual ~Likelihood() = default;
  virtual std::string name() const = 0;
  // Why these targets could not have been drawn from it (probabilities where there should be labels); ""
  // where they could.
  virtual std::string refusal(const Tensor& y) const = 0;
  // Targets by the inverse of the distribution function at u in (0, 1), float64, shaped like the targets.
  virtual Tensor draw(const Tensor& z, const Tensor& u) const = 0;
};

// Independent over outputs, or positions.
std::shared_ptr<const Likelihood> gaussian_likelihood();     // N(z, 1/2): -log p = (z - y)^2 + constant
std::shared_ptr<const Likelihood> categorical_likelihood();  // softmax(z) over dimension 1
std::shared_ptr<const Likelihood> bernoulli_likelihood();    // P(1) = sigmoid(z)
std::shared_ptr<const Likelihood> poisson_likelihood();      // of mean exp(z)

}  // namespace osculant
