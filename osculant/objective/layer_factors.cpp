#include "osculant/objective/layer_factors.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "osculant/base/error.h"
#include "osculant/linop/vector_space.h"
#include "osculant/objective/differentiate.h"
#include "osculant/objective/output_derivatives.h"

namespace osculant {
namespace {

// x times a number for each example, the first dimension.
Tensor times(const Tensor& x, const Tensor& by_example) {
  std::vector<int64_t> shape(static_cast<size_t>(x.dim()), 1);
  shape[0] = x.size(0);
  return x * by_example.to(x.options()).view(shape);
}

void require_single_examples(const Model& model) {
  if (model.couples_examples())
    fail_usage(
        "layer factors: batch norm in training mode couples the examples of a batch; call "
        "model.train(false)");
}

}  // namespace

LayerFactors::LayerFactors(const Objective& objective, size_t term, const Batch& batch,
                           const LayerFactorsOptions& options)
    : objective_(objective),
      term_(&objective_.terms().at(term)),
      batch_(unweighted(batch)),
      share_(options.share),
      of_(options.of) {
  require_single_examples(term_->model);
  at::AutoGradMode mode(true);
  LayerTaps taps(objective.layout());
  outputs_ = term_->model.forward(batch_);
  objective_.charge(Price::forward, static_cast<double>(examples_of_batch()));
  describe(taps, options);
}

LayerFactors::LayerFactors(const Objective& objective, size_t term, const Batch& batch,
                           std::vector<Tensor> outputs, const LayerTaps& taps,
                           const LayerFactorsOptions& options)
    : objective_(objective),
      term_(&objective_.terms().at(term)),
      batch_(unweighted(batch)),
      share_(options.share),
      of_(options.of),
      outputs_(std::move(outputs)) {
  require_single_examples(term_->model);
  describe(taps, options);
}

void LayerFactors::describe(const LayerTaps& taps, const LayerFactorsOptions& options) {
  for (const Tensor& z : outputs_)
    if (z.dim() == 0 || z.size(0) != examples())
      fail_usage(
          fmt::format("layer factors: an output has shape {}: the first of its dimensions must be the "
                      "example, {}",
                      c10::str(z.sizes()), examples()));
  untapped_ = taps.untapped();
  for (const LayerTap& tap : taps.list()) {
    LayerUse use{.tap = tap};
    bool shown = std::any_of(outputs_.begin(), outputs_.end(),
                             [&](const Tensor& z) { return z.is_same(tap.product); });
    if (tap.bias && shown) leave(*tap.bias, "added to what is an output itself");
    uses_.push_back(std::move(use));
  }
  settle();
  if (options.verify && !uses_.empty()) verify();
  if (options.strides.size() == uses_.size())
    for (size_t u = 0; u < uses_.size(); ++u) {
      auto possible = possible_strides(uses_[u].tap, examples());
      bool found = std::find(possible.begin(), possible.end(), options.strides[u]) != possible.end();
      if (found) uses_[u].stride = options.strides[u];
    }
  for (auto& use : uses_)
    use.uses = std::count_if(uses_.begin(), uses_.end(),
                             [&](const LayerUse& other) { return use.tap.part.overlaps(other.tap.part); });
}

bool LayerFactors::told(const ParameterPart& part) const {
  return !part.name.empty() && std::none_of(untapped_.begin(), untapped_.end(),
                                            [&](const auto& other) { return other.index == part.index; });
}

void LayerFactors::leave(const ParameterPart& part, const std::string& reason) {
  if (told(part)) untapped_.push_back({part.index, part.name, reason});
}

// Takes out of the uses what they do not tell, until nothing more follows.
void LayerFactors::settle() {
  size_t before = untapped_.size() + 1;
  while (untapped_.size() != before) {
    before = untapped_.size();
    std::vector<LayerUse> kept;
    for (const auto& old : uses_) {
      LayerTap tap = old.tap;
      if (tap.bias && !told(*tap.bias)) tap.bias.reset();
      if (!told(tap.part) && tap.bias) tap = bias_alone(tap);
      if (!told(tap.part)) continue;
      auto use = tap.output.requires_grad() ? layer_use(tap, examples()) : std::nullopt;
      if (use) {
        if (old.examples > 0) use->stride = old.stride;
        kept.push_back(std::move(*use));
        continue;
      }
      std::string reason = fmt::format("{} gives {}: no place for {} examples", tap.operation,
                                       c10::str(tap.output.sizes()), examples());
      leave(tap.part, reason);
      if (tap.bias) leave(*tap.bias, reason);
    }
    uses_ = std::move(kept);
  }
}

// With a weight w_i for each example's cotangent, what depends on example i alone is w_i times what it was.
void LayerFactors::verify() {
  RandomStream random(0, "layer factors");
  std::vector<Tensor> cotangent, weighted;
  Tensor w = random.uniform({examples()}, outputs_[0].options().requires_grad(false)) + 0.5;
  for (const Tensor& z : outputs_) {
    cotangent.push_back(random.normal(z.sizes(), z.options().requires_grad(false)));
    weighted.push_back(times(cotangent.back(), w));
  }
  auto d = backward(cotangent), wd = backward(weighted);
  double tolerance = std::sqrt(VectorSpace(1, w.options()).epsilon());
  auto fits = [&](const LayerUse& use, size_t u) {
    Tensor D = times(derivatives_of(use, d[u].unsqueeze(0))[0], w);
    Tensor error = D - derivatives_of(use, wd[u].unsqueeze(0))[0];
    return (error.norm() <= tolerance * D.norm()).item<bool>();
  };
  for (size_t u = 0; u < uses_.size(); ++u) {
    auto strides = possible_strides(uses_[u].tap, examples());
    auto found = std::find_if(strides.begin(), strides.end(), [&](int64_t stride) {
      uses_[u].stride = stride;
      return fits(uses_[u], u);
    });
    if (found != strides.end()) continue;
    leave(uses_[u].tap.part, "the examples of a batch mix behind it");
    if (uses_[u].has_bias()) leave(*uses_[u].tap.bias, "the examples of a batch mix behind it");
  }
  settle();
}

std::vector<Tensor> LayerFactors::backward(const std::vector<Tensor>& cotangent) const {
  if (uses_.empty()) return {};
  std::vector<Tensor> at;
  for (const auto& use : uses_) at.push_back(use.tap.output);
  auto d = grad_of(outputs_, at, cotangent);
  for (size_t u = 0; u < d.size(); ++u)
    if (!d[u].defined()) d[u] = at::zeros_like(at[u], at[u].options().requires_grad(false));
  objective_.charge(Price::layer_derivatives, static_cast<double>(examples_of_batch()));
  return d;
}

LayerFactors::Cotangents LayerFactors::loss_gradient() const {
  Cotangents w = output_gradients(*term_->loss, outputs_, batch_);
  for (auto& part : w) part = part.unsqueeze(0);
  return w;
}

LayerFactors::Cotangents LayerFactors::hessian_root() const {
  if (outputs_.size() != 1)
    fail_usage(fmt::format("the root of the output Hessian: of models with one output; this one gives {}",
                           outputs_.size()));
  const Tensor& z = outputs_[0];
  Tensor S = output_root(*term_->loss, z, at::zeros_like(z), batch_).S.movedim(2, 0);
  auto shape = z.sizes().vec();
  shape.insert(shape.begin(), S.size(0));
  return {S.reshape(shape)};
}

LayerFactors::Cotangents LayerFactors::sampled_gradients(int64_t draws, RandomStream& random) const {
  auto likelihood = term_->loss->likelihood();
  if (!likelihood)
    fail_usage(
        fmt::format("sampled gradients: the loss {} is the negative log likelihood of no distribution "
                    "that targets could be drawn from",
                    term_->loss.name()));
  std::vector<Tensor> columns;
  Batch batch = batch_;
  Tensor& y = batch.targets.at(0).tensor;
  auto shape = y.sizes().vec();
  shape[0] = examples_of_batch();
  for (int64_t m = 0; m < draws; ++m) {
    Tensor u = random.uniform(shape, at::TensorOptions(at::kDouble).device(y.device()));
    if (of_ > 0) u = u.narrow(0, share_.begin, share_.size());
    y = likelihood->draw(outputs_[0].detach(), u);
    columns.push_back(output_gradients(*term_->loss, outputs_, batch)[0]);
  }
  return {at::stack(columns)};
}

std::vector<Tensor> LayerFactors::derivatives(const Cotangents& cotangents) const {
  int64_t columns = cotangents.at(0).size(0);
  std::vector<Tensor> result(uses_.size());
  for (int64_t c = 0; c < columns; ++c) {
    std::vector<Tensor> column;
    for (const Tensor& family : cotangents) column.push_back(family[c]);
    auto d = backward(column);
    for (size_t u = 0; u < uses_.size(); ++u) {
      Tensor rows = derivatives_of(uses_[u], d[u].unsqueeze(0));
      if (auto padding = uses_[u].tap.padding_index)
        rows = rows.masked_fill(inputs_of(uses_[u]).eq(*padding).unsqueeze(2), 0);
      if (columns == 1) {
        result[u] = rows;
        continue;
      }
      if (c == 0) result[u] = at::empty({columns, rows.size(1), rows.size(2), rows.size(3)}, rows.options());
      result[u][c].copy_(rows[0]);
    }
  }
  return result;
}

}  // namespace osculant
