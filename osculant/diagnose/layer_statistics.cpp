#include "osculant/diagnose/layer_statistics.h"

#include <torch/types.h>

#include <cmath>
#include <limits>
#include <utility>

namespace osculant {
namespace {

constexpr double unknown = std::numeric_limits<double>::quiet_NaN();

double number(const Tensor& scalar) {
  return scalar.defined() ? scalar.item<double>() : unknown;
}

// [units, the rest]
Tensor by_unit(const Tensor& x, int64_t unit_dimension) {
  return x.movedim(unit_dimension, 0).flatten(1);
}

}  // namespace

void LayerStatistics::Moments::add(const Tensor& x, int64_t examples) {
  valid = valid && x.defined() && x.is_floating_point() && x.dim() > 1 && x.size(0) == examples &&
          (!mean.defined() || mean.numel() * examples == x.numel());
  if (!valid) return;
  Tensor values = x.detach().flatten(1).to(at::kDouble);
  auto n = static_cast<double>(examples);
  Tensor batch_mean = values.mean(0), batch_squares = (values - batch_mean).square().sum(0);
  if (!mean.defined()) {
    mean = at::zeros_like(batch_mean);
    squares = at::zeros_like(batch_mean);
  }
  Tensor delta = batch_mean - mean;
  squares += batch_squares + delta.square() * (count * n / (count + n));
  mean += delta * (n / (count + n));
  count += n;
}

double LayerStatistics::Moments::variance() const {
  return valid && count > 1 ? number(squares.mean()) / (count - 1) : unknown;
}

double LayerStatistics::Moments::scale() const {
  return valid && count > 0 ? std::sqrt(number((squares / count + mean.square()).mean())) : unknown;
}

LayerStatistics::LayerStatistics(const LayerTap& first, std::string name)
    : kind_(first.kind),
      weight_is_zero_(!first.weight.detach().any().item<bool>()),
      layer_(first.layer),
      parameter_(first.parameter),
      activation_(first.activation_kind) {
  flow_.name = std::move(name);
  flow_.operation = first.operation;
  flow_.activation = first.activation;
}

bool LayerStatistics::same_call(const LayerTap& tap) const {
  return tap.parameter == parameter_ && tap.operation == flow_.operation &&
         tap.activation == flow_.activation;
}

void LayerStatistics::add(const LayerTap& tap, const Tensor& gradient, int64_t examples) {
  torch::NoGradGuard no_grad;
  input_.add(tap.input, examples);
  output_.add(tap.output, examples);
  Tensor finite = tap.output.isfinite().all();
  if (gradient.defined()) {
    Tensor squares = gradient.to(at::kDouble).square().sum();
    gradient_squares_ = gradient_squares_.defined() ? gradient_squares_ + squares : squares;
    finite = finite.logical_and(squares.isfinite());
  }
  finite_ = finite_.defined() ? finite_.logical_and(finite) : finite;
  examples_ += static_cast<double>(examples);
  if (tap.activated.defined()) add_units(tap);
}

void LayerStatistics::add_units(const LayerTap& tap) {
  Tensor a = by_unit(tap.activated.detach(), tap.unit_dimension);
  if (activation_ == ActivationKind::relu) {
    Tensor alive = a.ne(0).any(1);
    alive_ = alive_.defined() ? alive_.logical_or(alive) : alive;
    return;
  }
  if (activation_ == ActivationKind::other) return;
  a = a.to(at::kDouble);
  // tanh' = 1 - tanh^2, sigmoid' = sigmoid (1 - sigmoid)
  Tensor derivative = (activation_ == ActivationKind::tanh ? 1 - a.square() : a * (1 - a)).sum(1);
  derivative_ = derivative_.defined() ? derivative_ + derivative : derivative;
  entries_ += static_cast<double>(a.size(1));
}

bool LayerStatistics::finite() const {
  return finite_.item<bool>();
}

bool LayerStatistics::inputs_differ(double noise) const {
  double variance = input_.variance();
  return std::isnan(variance) || std::sqrt(variance) > noise * input_.scale();
}

LayerFlow LayerStatistics::flow(double gradient_ratio, double saturation) const {
  LayerFlow flow = flow_;
  flow.forward_variance = output_.variance();
  flow.scale = output_.scale();
  flow.backward_norm =
      gradient_squares_.defined() ? std::sqrt(number(gradient_squares_) / examples_) : unknown;
  flow.gradient_ratio = gradient_ratio;
  flow.dead = alive_.defined() ? 1 - number(alive_.to(at::kDouble).mean()) : unknown;
  flow.saturated = derivative_.defined()
                       ? number((derivative_ / entries_).lt(saturation).to(at::kDouble).mean())
                       : unknown;
  return flow;
}

}  // namespace osculant
