#include "osculant/study/flow_warnings.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "osculant/base/text.h"

namespace osculant {
namespace {

constexpr double vanished = 1e-4;  // of the largest gradient norm of a layer
constexpr double mostly_dead = 0.5;

WatchWarning warning_of(const char* kind, int64_t step, const LayerRatio& ratio) {
  return {.kind = kind, .step = step, .last_step = step, .measured = {ratio.value, ratio.low, ratio.high}};
}

std::string ratio_words(const LayerRatio& ratio) {
  if (std::isnan(ratio.value)) return "what a layer multiplies it by is unknown";
  return fmt::format("a layer multiplies it by {} (95 %: {} to {})", format_number(ratio.value),
                     format_number(ratio.low), format_number(ratio.high));
}

// Above rounding, and yet so little that a plain step does not move the first layers.
void add_vanishing(std::vector<WatchWarning>& out, const GradientFlow& flow, int64_t step) {
  const LayerFlow* largest = nullptr;
  for (const auto& layer : flow.layers)
    if (largest == nullptr || layer.backward_norm > largest->backward_norm) largest = &layer;
  const LayerFlow& first = flow.layers.front();
  if (!(first.backward_norm <= vanished * largest->backward_norm) || !(flow.backward_ratio.high < 1)) return;
  WatchWarning warning = warning_of("vanishing_gradient", step, flow.backward_ratio);
  warning.message =
      fmt::format("Gradients vanish on the way back: at layer {} they are {} of those at layer {}; {}.",
                  first.name, format_number(first.backward_norm / largest->backward_norm), largest->name,
                  ratio_words(flow.backward_ratio));
  warning.remedy =
      "A critical initialisation (osculant advise offers one), another activation, "
      "normalisation or residual connections; failing these, a method that gives each layer a "
      "step of its own length (adam, muon).";
  out.push_back(std::move(warning));
}

void add_dead_units(std::vector<WatchWarning>& out, const GradientFlow& flow, int64_t step) {
  const LayerFlow* worst = nullptr;
  for (const auto& layer : flow.layers)
    if (layer.dead > mostly_dead && (worst == nullptr || layer.dead > worst->dead)) worst = &layer;
  if (worst == nullptr) return;
  // Of m examples none: at 95 % a unit fires on no more than 3 / m of all (rule of three).
  WatchWarning warning{.kind = "dead_units", .step = step, .last_step = step};
  warning.measured = {worst->dead, worst->dead, worst->dead};
  warning.message = fmt::format(
      "{:.3g} % of the units of layer {} are 0 on each of {} examples: such a unit fires on at most {:.2g} % "
      "of the data (95 %).",
      100 * worst->dead, worst->name, flow.examples, 300 / static_cast<double>(flow.examples));
  warning.remedy =
      "A lower learning rate, biases of 0 or leaky_relu keep units; nothing revives those that "
      "are dead on all the data.";
  out.push_back(std::move(warning));
}

}  // namespace

std::vector<WatchWarning> flow_warnings(const GradientFlow& flow, int64_t step, bool loss_has_risen) {
  std::vector<WatchWarning> out;
  if (flow.layers.empty()) return out;
  if (flow.verdict == FlowVerdict::dead_signal || flow.verdict == FlowVerdict::exploding) {
    bool dead = flow.verdict == FlowVerdict::dead_signal;
    out.push_back(warning_of(name_of(flow.verdict), step, dead ? flow.backward_ratio : flow.forward_ratio));
    out.back().message = flow.words;
    out.back().remedy =
        loss_has_risen ? "The loss is larger than at the first step: a smaller learning rate before anything "
                         "else."
                       : "A critical initialisation (osculant advise offers one), another activation, "
                         "normalisation or residual connections.";
  } else {
    add_vanishing(out, flow, step);
  }
  add_dead_units(out, flow, step);
  return out;
}

std::string where_numbers_end(const GradientFlow& flow, int64_t batch) {
  std::string looked = fmt::format("on {} of the {} examples of its batch", flow.examples, batch);
  for (const auto& layer : flow.layers)
    if (!std::isfinite(layer.scale))
      return fmt::format("The first layer whose outputs are not finite is {} ({}).", layer.name, looked);
  for (auto layer = flow.layers.rbegin(); layer != flow.layers.rend(); ++layer)
    if (!std::isfinite(layer->backward_norm))
      return fmt::format(
          "Outputs are finite; on the way back the first gradient that is not is that of layer {} ({}).",
          layer->name, looked);
  const auto& largest = *std::max_element(flow.layers.begin(), flow.layers.end(),
                                          [](const auto& a, const auto& b) { return a.scale < b.scale; });
  return fmt::format(
      "Outputs and gradients of single layers are finite ({}); the largest outputs, {} by root mean square, "
      "are those of layer {}.",
      looked, format_number(largest.scale), largest.name);
}

}  // namespace osculant
