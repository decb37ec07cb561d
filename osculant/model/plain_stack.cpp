#include "osculant/model/plain_stack.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "osculant/base/error.h"
#include "osculant/base/random.h"

namespace osculant {
namespace {

double mean_square(const Tensor& theta, const ParameterPart& part) {
  return theta.narrow(0, part.offset, part.size()).to(at::kDouble).square().mean().item<double>();
}

// [out, in, kernel...]: entries that feed a unit.
int64_t fan_in(const LayerTap& tap) {
  int64_t out = tap.transposed ? tap.part.shape.back() : tap.part.shape.front();
  return tap.part.size() / out;
}

StackLayer stack_layer(const LayerTap& tap, const Tensor& theta) {
  StackLayer layer;
  layer.name = tap.layer;
  layer.weight = tap.part;
  layer.bias = tap.bias;
  layer.transposed = tap.transposed;
  layer.fan_in = fan_in(tap);
  layer.after = tap.activation;
  layer.variances = {static_cast<double>(layer.fan_in) * mean_square(theta, tap.part),
                     tap.bias ? mean_square(theta, *tap.bias) : 0};
  return layer;
}

// Whether the layer's input is what the one before made, perhaps pooled or flattened.
bool follows(const LayerTap& tap, const LayerTap& before) {
  const Tensor& made = before.activated.defined() ? before.activated : before.output;
  if (tap.input.is_alias_of(made)) return true;
  return before.kind == LayerKind::convolution && tap.input.numel() < made.numel();
}

std::string trouble_of(const std::vector<LayerTap>& taps, const std::vector<UntappedParameter>& untapped) {
  if (taps.empty()) return "no layer was seen";
  if (!untapped.empty()) return fmt::format("{}: {}", untapped.front().name, untapped.front().reason);
  for (size_t i = 0; i < taps.size(); ++i) {
    const auto& tap = taps[i];
    if (tap.kind != LayerKind::linear && tap.kind != LayerKind::convolution)
      return fmt::format("{} is {}", tap.layer, name_of(tap.kind));
    if (i > 0 && !follows(tap, taps[i - 1]))
      return fmt::format("the input of {} is not what {} made", tap.layer, taps[i - 1].layer);
    for (size_t j = 0; j < i; ++j)
      if (tap.part.overlaps(taps[j].part)) return fmt::format("{} is used twice", tap.parameter);
  }
  return "";
}

class CriticalWeights {
 public:
  CriticalWeights(Tensor theta, uint64_t seed) : theta_(std::move(theta)), random_(seed, "initialization") {}

  void draw(const StackLayer& layer) {
    StackInitialization stack = variances_for(layer);
    bool behind = layer.before == "sigmoid", ahead = layer.after == "sigmoid";
    if (behind && !layer.bias)
      fail_usage(
          fmt::format("layer {}: without biases its sigmoids have no critical initialisation", layer.name));
    int64_t out = layer.weight.size() / layer.fan_in;
    Tensor W = normal({out, layer.fan_in}, stack.weight_variance / static_cast<double>(layer.fan_in));
    Tensor b = normal({out}, stack.bias_variance);
    if (behind) b -= W.sum(1);
    W *= (behind ? 2.0 : 1.0) * (ahead ? 2.0 : 1.0);
    if (ahead) b *= 2;
    put(layer.weight, layer.transposed ? W.t() : W);
    if (layer.bias) put(*layer.bias, b);
  }

  Tensor theta() const { return theta_; }

 private:
  StackInitialization variances_for(const StackLayer& layer) {
    std::string activation = !layer.before.empty() ? layer.before : layer.after;
    if (activation.empty()) activation = "identity";
    if (auto known = known_.find(activation); known != known_.end()) return known->second;
    auto found = critical_initialization(activation);
    if (!found)
      fail_usage(fmt::format("layer {}: no critical initialisation of {} is known", layer.name, activation));
    return known_[activation] = found->stack;
  }
  Tensor normal(std::vector<int64_t> shape, double variance) {
    return random_.normal(shape, at::kDouble) * std::sqrt(variance);
  }
  void put(const ParameterPart& part, const Tensor& values) {
    theta_.narrow(0, part.offset, part.size()).copy_(values.reshape({-1}));
  }

  Tensor theta_;
  RandomStream random_;
  std::map<std::string, StackInitialization> known_;  // by activation
};

}  // namespace

std::string PlainStack::activation() const {
  std::string found;
  for (const auto& layer : layers) {
    if (layer.after.empty() || layer.after == found) continue;
    if (!found.empty()) return "";
    found = layer.after;
  }
  return found;
}

StackInitialization PlainStack::variances() const {
  StackInitialization sum{0, 0};
  int count = 0;
  for (const auto& layer : layers) {
    if (layer.before.empty()) continue;
    sum.weight_variance += layer.variances.weight_variance;
    sum.bias_variance += layer.variances.bias_variance;
    ++count;
  }
  return count == 0 ? sum : StackInitialization{sum.weight_variance / count, sum.bias_variance / count};
}

PlainStack plain_stack(const Model& model, const Batch& examples) {
  LayerTaps watcher(model.layout());
  at::AutoGradMode recording(true);  // by the graph it is known what uses a parameter
  model.forward(examples);
  PlainStack stack;
  auto taps = watcher.list();
  stack.why_not = watcher.note().empty() ? trouble_of(taps, watcher.untapped()) : watcher.note();
  if (!stack.why_not.empty()) return stack;
  for (const auto& tap : taps) {
    stack.layers.push_back(stack_layer(tap, model.layout().theta()));
    if (stack.layers.size() > 1) stack.layers.back().before = stack.layers[stack.layers.size() - 2].after;
  }
  return stack;
}

Tensor critical_parameters(const Model& model, const PlainStack& stack, uint64_t seed) {
  if (!stack.why_not.empty())
    fail_usage("critical initialisation: the network is no plain stack of layers: " + stack.why_not);
  CriticalWeights weights(model.layout().theta().detach().clone(), seed);
  for (const auto& layer : stack.layers) weights.draw(layer);
  return weights.theta();
}

}  // namespace osculant
