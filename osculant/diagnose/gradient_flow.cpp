#include "osculant/diagnose/gradient_flow.h"

#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "osculant/base/error.h"
#include "osculant/base/text.h"
#include "osculant/comm/flat_reduction.h"
#include "osculant/diagnose/flow_verdict.h"
#include "osculant/diagnose/layer_statistics.h"
#include "osculant/linop/vector_space.h"
#include "osculant/model/layer_taps.h"
#include "osculant/spectrum/statistics.h"

namespace osculant {
namespace {

constexpr double unknown = std::numeric_limits<double>::quiet_NaN();

// What a walk over the data has seen.
struct Observation {
  std::vector<LayerStatistics> layers;
  Tensor gradient;  // [n], of the loss
  bool finite = true;
  int64_t examples = 0;
  std::string note;
};

std::vector<LayerStatistics> statistics_for(const std::vector<LayerTap>& taps) {
  std::vector<LayerStatistics> layers;
  std::map<std::string, int> calls;
  for (const auto& tap : taps) {
    int call = ++calls[tap.layer];
    layers.emplace_back(tap, call == 1 ? tap.layer : fmt::format("{} ({})", tap.layer, call));
  }
  return layers;
}

bool same_calls(const std::vector<LayerStatistics>& layers, const std::vector<LayerTap>& taps) {
  return std::equal(layers.begin(), layers.end(), taps.begin(), taps.end(),
                    [](const auto& layer, const auto& tap) { return layer.same_call(tap); });
}

// d sum / d (leaves, then the outputs of the taps); undefined where the sum does not depend on it.
std::vector<Tensor> gradients_of(const Tensor& sum, const std::vector<Tensor>& leaves,
                                 const std::vector<LayerTap>& taps) {
  std::vector<Tensor> by = leaves, gradients(leaves.size() + taps.size());
  std::vector<size_t> place;
  for (size_t i = 0; i < leaves.size(); ++i) place.push_back(i);
  for (size_t i = 0; i < taps.size(); ++i)
    if (taps[i].output.requires_grad()) {
      by.push_back(taps[i].output);
      place.push_back(leaves.size() + i);
    }
  if (!sum.requires_grad()) return gradients;
  auto found = torch::autograd::grad({sum}, by, {}, false, false, /*allow_unused=*/true);
  for (size_t i = 0; i < found.size(); ++i) gradients[place[i]] = found[i];
  return gradients;
}

// Whether the processes share the examples of a batch.
bool is_shared(const Model& model, const Objective& objective) {
  return !objective.communicator().alone() && !model.couples_examples() && model.required_batch_size() == 0;
}

// Adds batch `i`, or this process's share of it; false when nothing more can be learned.
bool add_batch(Observation& seen, const Objective& objective, int64_t i, Tensor& denominator) {
  const Term& term = objective.terms().front();
  const auto& leaves = objective.layout().leaves();
  at::AutoGradMode graph(true);
  Batch batch = objective.batch(0, i);
  auto examples = static_cast<double>(batch.size());
  Share share = is_shared(term.model, objective) ? share_of(batch.size(), objective.communicator())
                                                 : Share{0, batch.size()};
  // A process with no example looks at the first, to know the layers.
  bool counts = share.size() > 0;
  if (!counts) share = {0, 1};
  if (share.size() < batch.size()) batch = batch.slice(share.begin, share.end);
  Model::Outputs outputs;
  std::vector<LayerTap> calls;
  {
    LayerTaps taps(objective.layout());
    outputs = term.model.forward(batch);
    calls = taps.list();
    std::erase_if(calls, [](const LayerTap& tap) { return tap.kind == LayerKind::bias; });
    if (i == 0) seen.note = taps.note();
  }
  if (i == 0) {
    seen.layers = statistics_for(calls);
    if (seen.layers.empty()) {
      if (seen.note.empty()) seen.note = "no layer with a trainable weight was seen in the forward pass";
      return false;
    }
  } else if (!same_calls(seen.layers, calls)) {
    seen.note = fmt::format("batch {} calls other layers than the first; those up to it count", i + 1);
    return false;
  }
  objective.charge(Price::gradient, examples);
  if (!counts && i > 0) return true;
  term.loss->check(outputs, batch);
  Tensor sum = term.loss->sum(outputs, batch);
  if (counts) denominator = denominator + term.loss->denominator(outputs, batch).detach();
  seen.finite = seen.finite && std::isfinite(sum.item<double>());
  auto gradients = gradients_of(sum, leaves, calls);
  for (size_t l = 0; l < calls.size(); ++l)
    seen.layers[l].add(calls[l], gradients[leaves.size() + l], batch.size());
  if (!counts) {
    for (auto& layer : seen.layers) layer.forget();
    return true;
  }
  gradients.resize(leaves.size());
  objective.layout().accumulate(seen.gradient, gradients);
  seen.examples += batch.size();
  return true;
}

// What each process has seen of its examples, put together.
void share(Observation& seen, Tensor& denominator, const Communicator& processes) {
  auto numbers = at::tensor({seen.finite ? 0.0 : 1.0, static_cast<double>(seen.examples)}, at::kDouble);
  all_reduce_sum(processes, {seen.gradient, denominator, numbers});
  seen.finite = numbers[0].item<double>() == 0;
  seen.examples = numbers[1].item<int64_t>();
  LayerStatistics::share(seen.layers, processes);
}

Observation observe(const Objective& objective, const GradientFlowOptions& options) {
  Observation seen;
  const Term& term = objective.terms().front();
  seen.gradient = at::zeros({objective.parameters()}, objective.layout().options());
  Tensor denominator = at::zeros({}, seen.gradient.options().dtype(at::kDouble));
  int64_t batches = term.data.batches();
  if (options.batches > 0) batches = std::min(batches, options.batches);
  for (int64_t i = 0; i < batches; ++i)
    if (!add_batch(seen, objective, i, denominator)) break;
  if (is_shared(term.model, objective)) share(seen, denominator, objective.communicator());
  seen.gradient.mul_(term.weight / denominator.item<double>());
  return seen;
}

// |d f / d parameters| / |parameters| by layer; NaN where the parameters are all 0.
std::map<std::string, double> gradient_ratios(const ParameterLayout& layout, const Tensor& gradient) {
  std::map<std::string, std::pair<double, double>> squares;
  auto gradients = layout.unflatten(gradient), values = layout.unflatten(layout.theta());
  auto square = [](const Tensor& x) { return x.to(at::kDouble).square().sum().item<double>(); };
  for (size_t i = 0; i < gradients.size(); ++i) {
    const std::string& name = layout.parameters()[i].name;
    auto dot = name.rfind('.');
    auto& [g, w] = squares[dot == std::string::npos ? name : name.substr(0, dot)];
    g += square(gradients[i]);
    w += square(values[i]);
  }
  std::map<std::string, double> ratios;
  for (const auto& [layer, sums] : squares)
    ratios[layer] = sums.second > 0 ? std::sqrt(sums.first / sums.second) : unknown;
  return ratios;
}

// exp of the mean of log(ratio), with Student's t interval.
LayerRatio ratio_of(const std::vector<double>& log_ratios) {
  LayerRatio ratio{unknown, unknown, unknown, static_cast<int64_t>(log_ratios.size())};
  if (log_ratios.size() < 2) return ratio;
  RunningMoments moments;
  for (double x : log_ratios) moments.add(x);
  auto m = static_cast<double>(log_ratios.size());
  double half = student_quantile(0.975, m - 1) * std::sqrt(moments.variance() / m);
  ratio.value = std::exp(moments.mean());
  ratio.low = std::exp(moments.mean() - half);
  ratio.high = std::exp(moments.mean() + half);
  return ratio;
}

// Ratios of neighbours among `layers`, left out where either value is not above its floor.
struct Logarithms {
  std::vector<double> forward, backward;
};
Logarithms log_ratios(const std::vector<const LayerFlow*>& layers, double noise, double smallest) {
  Logarithms logs;
  auto differs = [&](const LayerFlow& layer) {
    return std::isfinite(layer.forward_variance) && std::sqrt(layer.forward_variance) > noise * layer.scale;
  };
  auto has_gradient = [&](const LayerFlow& layer) {
    return std::isfinite(layer.backward_norm) && layer.backward_norm > smallest;
  };
  for (size_t i = 0; i + 1 < layers.size(); ++i) {
    const LayerFlow &near = *layers[i], &far = *layers[i + 1];
    if (differs(near) && differs(far))
      logs.forward.push_back(std::log(far.forward_variance / near.forward_variance));
    if (has_gradient(near) && has_gradient(far))
      logs.backward.push_back(std::log(near.backward_norm / far.backward_norm));
  }
  return logs;
}

std::string known(double value) {
  return std::isnan(value) ? "-" : format_number(value);
}
std::string share(double value) {
  return std::isnan(value) ? "-" : fmt::format("{:.0f} %", 100 * value);
}

}  // namespace

void GradientFlowOptions::check() const {
  require_non_negative("batches", static_cast<double>(batches));
  require_between("saturation", saturation, 0, 1);
  require_positive("noise_factor", noise_factor);
  require_between("saturated_share", saturated_share, 0, 1);
  require_between("flat_factor", flat_factor, 0, 1);
}

GradientFlow gradient_flow(const Objective& objective, const GradientFlowOptions& options) {
  options.check();
  if (!objective.has_outputs())
    fail_usage("gradient_flow: the objective is a function of the parameters alone; it has no layers");
  Observation seen = observe(objective, options);
  GradientFlow result;
  result.examples = seen.examples;
  result.note = seen.note;
  auto ratios = gradient_ratios(objective.layout(), seen.gradient);
  std::vector<size_t> maps;  // linear and convolutional layers
  FlowFacts facts{.finite = seen.finite};
  for (size_t i = 0; i < seen.layers.size(); ++i) {
    const auto& layer = seen.layers[i];
    result.layers.push_back(layer.flow(ratios[layer.layer()], options.saturation));
    facts.finite = facts.finite && layer.finite();
    if (layer.weight_is_zero()) facts.zero_weights.push_back(layer.name());
    if (layer.is_map()) maps.push_back(i);
  }
  at::TensorOptions numbers = objective.layout().options();
  double u = VectorSpace(1, numbers).epsilon() / 2;
  double tiny = objective.layout().dtype() == at::kDouble ? std::numeric_limits<double>::min()
                                                          : std::numeric_limits<float>::min();
  facts.noise = options.noise_factor * u;
  facts.inputs_differ = seen.layers.empty() || seen.layers.front().inputs_differ(facts.noise);

  std::vector<const LayerFlow*> middle;
  for (size_t i = 1; i + 1 < maps.size(); ++i) middle.push_back(&result.layers[maps[i]]);
  Logarithms logs = log_ratios(middle, facts.noise, tiny / u);
  result.forward_ratio = ratio_of(logs.forward);
  result.backward_ratio = ratio_of(logs.backward);
  std::tie(result.verdict, result.words) = judge(result, facts, options);
  return result;
}

const char* name_of(FlowVerdict verdict) {
  switch (verdict) {
    case FlowVerdict::healthy:
      return "healthy";
    case FlowVerdict::dead_signal:
      return "dead_signal";
    case FlowVerdict::exploding:
      return "exploding";
    case FlowVerdict::flat_but_alive:
      return "flat_but_alive";
    case FlowVerdict::unknown:
      break;
  }
  return "unknown";
}

bool nothing_gets_through(FlowVerdict verdict) {
  return verdict == FlowVerdict::dead_signal || verdict == FlowVerdict::exploding;
}

std::string GradientFlow::report() const {
  std::string out = words + "\n";
  if (layers.empty()) return out;
  TextTable table(
      {"layer", "operation", "forward variance", "backward norm", "gradient ratio", "dead", "saturated"});
  for (const auto& layer : layers)
    table.add({layer.name,
               layer.activation.empty() ? layer.operation : layer.operation + ", " + layer.activation,
               known(layer.forward_variance), known(layer.backward_norm), known(layer.gradient_ratio),
               share(layer.dead), share(layer.saturated)});
  return out + table.str();
}

}  // namespace osculant
