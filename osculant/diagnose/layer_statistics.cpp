#include "osculant/diagnose/layer_statistics.h"

#include <torch/types.h>

#include <cmath>
#include <limits>
#include <utility>

#include "osculant/comm/flat_reduction.h"

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

void LayerStatistics::Moments::forget() {
  if (mean.defined()) mean.zero_(), squares.zero_();
  count = 0;
}

void LayerStatistics::forget() {
  input_.forget();
  output_.forget();
  for (Tensor* sums : {&gradient_squares_, &alive_, &derivative_})
    if (sums->defined()) sums->zero_();
  finite_ = at::ones_like(finite_);
  examples_ = entries_ = 0;
}

// With n_r examples of mean m_r and squares S_r: the mean m = sum n_r m_r / n, and sum S_r + n_r (m_r - m)^2
// (Chan, Golub & LeVeque 1983).
void LayerStatistics::share(std::vector<LayerStatistics>& layers, const Communicator& processes) {
  if (processes.alone() || layers.empty()) return;
  std::vector<Moments*> moments;
  std::vector<double> counts;
  for (auto& layer : layers)
    for (Moments* of : {&layer.input_, &layer.output_}) moments.push_back(of);
  for (const Moments* of : moments) counts.insert(counts.end(), {of->valid ? 0.0 : 1.0, of->count});
  for (const auto& layer : layers)
    counts.insert(counts.end(), {layer.finite_.item<bool>() ? 0.0 : 1.0, layer.examples_, layer.entries_});
  Tensor sums = at::tensor(counts, at::kDouble);
  processes.all_reduce_sum(sums);
  const double* sum = sums.data_ptr<double>();
  std::vector<double> own;
  std::vector<Tensor> means, squares, own_means;
  for (Moments* of : moments) {
    own.push_back(of->count);
    of->valid = sum[0] == 0;
    of->count = sum[1];
    sum += 2;
    own_means.push_back(of->mean.defined() ? of->mean.clone() : Tensor());
    if (of->valid && of->mean.defined()) means.push_back(of->mean.mul_(own.back() / of->count));
  }
  for (auto& layer : layers) {
    layer.finite_ = at::full_like(layer.finite_, sum[0] == 0);
    layer.examples_ = sum[1];
    layer.entries_ = sum[2];
    sum += 3;
    for (Tensor* of : {&layer.gradient_squares_, &layer.alive_, &layer.derivative_}) {
      if (!of->defined()) continue;
      *of = of->to(at::kDouble);
      means.push_back(*of);
    }
  }
  all_reduce_sum(processes, means);
  for (size_t i = 0; i < moments.size(); ++i) {
    Moments& of = *moments[i];
    if (of.valid && of.mean.defined())
      squares.push_back(of.squares.add_((own_means[i] - of.mean).square(), own[i]));
  }
  all_reduce_sum(processes, squares);
  for (auto& layer : layers)
    if (layer.alive_.defined()) layer.alive_ = layer.alive_.gt(0);
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
