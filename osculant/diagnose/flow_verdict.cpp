#include "osculant/diagnose/flow_verdict.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <tuple>

#include "osculant/base/text.h"
#include "osculant/spectrum/norms.h"

namespace osculant {
namespace {

using Judgement = std::pair<FlowVerdict, std::string>;

// What standard deviation an output has between inputs, relative to its own size.
double relative_difference(const LayerFlow& layer) {
  return layer.scale > 0 ? std::sqrt(layer.forward_variance) / layer.scale : 0 * layer.forward_variance;
}

std::string ratio_words(const GradientFlow& result) {
  auto one = [](const LayerRatio& ratio) {
    return fmt::format("{} (95 % interval {} to {})", format_number(ratio.value), format_number(ratio.low),
                       format_number(ratio.high));
  };
  std::string out;
  if (!std::isnan(result.forward_ratio.value))
    out += fmt::format(" A layer multiplies the variance between inputs by {}.", one(result.forward_ratio));
  if (!std::isnan(result.backward_ratio.value))
    out += fmt::format(" On the way back a layer multiplies gradients by {}.", one(result.backward_ratio));
  return out;
}

double largest_gradient(const std::vector<LayerFlow>& layers) {
  double largest = 0;
  for (const auto& layer : layers)
    if (layer.backward_norm > largest) largest = layer.backward_norm;
  return largest;
}

// Mean share of saturated units over the layers that can be; NaN without any.
double mean_saturation(const std::vector<LayerFlow>& layers) {
  double sum = 0, count = 0;
  for (const auto& layer : layers)
    if (!std::isnan(layer.saturated)) {
      sum += layer.saturated;
      ++count;
    }
  return sum / count;
}

std::optional<Judgement> judge_exploding(const GradientFlow& result, const FlowFacts& facts,
                                         const GradientFlowOptions& options) {
  if (!facts.finite)
    return Judgement{FlowVerdict::exploding,
                     "Exploding: the loss, an output or a gradient is not finite." + ratio_words(result)};
  double saturated = mean_saturation(result.layers);
  if (saturated >= options.saturated_share)
    return Judgement{
        FlowVerdict::exploding,
        fmt::format(
            "Exploding: {:.0f} % of the units are saturated, from {:.0f} % on a network counts as that; "
            "a unit is saturated whose derivative is below {} on average.{}",
            100 * saturated, 100 * options.saturated_share, format_number(options.saturation),
            ratio_words(result))};
  const LayerFlow &first = result.layers.front(), &last = result.layers.back();
  double forward = std::sqrt(last.forward_variance / first.forward_variance),
         backward = first.backward_norm / last.backward_norm;
  for (auto [growth, what] : {std::pair(forward, "differences between inputs grow"),
                              std::pair(backward, "gradients grow on the way back")})
    if (growth * facts.noise > 1)
      return Judgement{
          FlowVerdict::exploding,
          fmt::format("Exploding: {} by a factor of {} from end to end, more than {}.{}", what,
                      format_number(growth), format_number(1 / facts.noise), ratio_words(result))};
  return std::nullopt;
}

std::string dead_forward(const GradientFlow& result, const FlowFacts& facts) {
  const auto& layers = result.layers;
  if (!(relative_difference(layers.back()) <= facts.noise)) return "";
  auto drowned = std::find_if(layers.begin(), layers.end(),
                              [&](const auto& layer) { return relative_difference(layer) <= facts.noise; });
  return fmt::format(
      "differences between inputs are lost in rounding from layer {} on (number {} of {}): at the last they "
      "are {} of the outputs' size, less than rounding's {}",
      drowned->name, drowned - layers.begin() + 1, layers.size(),
      format_number(relative_difference(layers.back())), format_number(facts.noise));
}

std::string dead_backward(const GradientFlow& result, const FlowFacts& facts) {
  const auto& layers = result.layers;
  double largest = largest_gradient(layers), reached = layers.front().backward_norm;
  if (!(reached <= facts.noise * largest)) return "";
  if (largest == 0) return "no gradient reaches any layer";
  return fmt::format("the gradient at the first layer is {} of the largest, less than rounding's {}",
                     format_number(reached / largest), format_number(facts.noise));
}

std::optional<Judgement> judge_dead(const GradientFlow& result, const FlowFacts& facts) {
  std::string forward = dead_forward(result, facts), backward = dead_backward(result, facts);
  if (forward.empty() && backward.empty()) return std::nullopt;
  const char* both = forward.empty() || backward.empty() ? "" : "; ";
  std::string words = "Dead signal: " + forward + both + backward + "." + ratio_words(result);
  if (facts.zero_weights.empty())
    words +=
        " No optimiser alone revives that: initialisation, activation, normalisation or depth must change.";
  else
    words += fmt::format(" The weights of {} are all 0, which stops signals at this point.",
                         fmt::join(facts.zero_weights, ", "));
  return Judgement{FlowVerdict::dead_signal, words};
}

// A block is flat beyond doubt whose norm is at most flat_factor times the median of what the norms are at
// least.
std::optional<Judgement> judge_flat(const GradientFlow& result, const GradientFlowOptions& options) {
  if (options.curvature.size() < 2) return std::nullopt;
  std::vector<double> least;
  for (const auto& block : options.curvature) least.push_back(block.norm.low);
  auto middle = least.begin() + static_cast<std::ptrdiff_t>(least.size() / 2);
  std::nth_element(least.begin(), middle, least.end());
  std::vector<std::string> flat;
  for (const auto& [layer, norm] : options.curvature)
    if (norm.high < options.flat_factor * *middle)
      flat.push_back(fmt::format("{} ({})", layer, in_words(norm)));
  if (flat.empty()) return std::nullopt;
  return Judgement{
      FlowVerdict::flat_but_alive,
      fmt::format("Flat but alive: gradients are above rounding everywhere, but the curvature of {} is "
                  "below {} of the median layer's, which is at least {}.{}",
                  fmt::join(flat, "; "), format_number(options.flat_factor), format_number(*middle),
                  ratio_words(result))};
}

Judgement healthy(const GradientFlow& result, const FlowFacts& facts) {
  const auto& layers = result.layers;
  double difference = relative_difference(layers.back()),
         gradient = layers.front().backward_norm / largest_gradient(layers);
  if (std::isnan(difference) && std::isnan(gradient))
    return {FlowVerdict::unknown,
            "Unknown: neither differences between inputs nor gradients could be followed to the far end."};
  std::string words = "Healthy:";
  if (!std::isnan(difference))
    words += fmt::format(" differences between inputs are {} of the outputs' size at the last layer,",
                         format_number(difference));
  if (!std::isnan(gradient))
    words += fmt::format(" the gradient at the first layer is {} of the largest,", format_number(gradient));
  return {FlowVerdict::healthy,
          words + fmt::format(" above rounding's {}.", format_number(facts.noise)) + ratio_words(result)};
}

}  // namespace

Judgement judge(const GradientFlow& result, const FlowFacts& facts, const GradientFlowOptions& options) {
  if (result.layers.empty()) return {FlowVerdict::unknown, "Unknown: " + result.note + "."};
  if (auto exploding = judge_exploding(result, facts, options)) return *exploding;
  if (!facts.inputs_differ)
    return {
        FlowVerdict::unknown,
        "Unknown: the examples looked at do not differ, so whether differences get through cannot be told."};
  if (auto dead = judge_dead(result, facts)) return *dead;
  if (auto flat = judge_flat(result, options)) return *flat;
  return healthy(result, facts);
}

void consider_curvature(GradientFlow& flow, const std::vector<LayerCurvature>& curvature,
                        const GradientFlowOptions& options) {
  GradientFlowOptions with = options;
  with.curvature = curvature;
  if (flow.verdict != FlowVerdict::healthy) return;
  if (auto flat = judge_flat(flow, with)) std::tie(flow.verdict, flow.words) = *flat;
}

}  // namespace osculant
