#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "osculant/base/text.h"
#include "osculant/study/result.h"
#include "osculant/study/verdict.h"

namespace osculant {
namespace {

std::string shape_text(const std::vector<int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

std::string number_or_unknown(double value) {
  return std::isnan(value) ? "unknown" : format_number(value);
}

std::string model_text(const Result& result) {
  std::string out = fmt::format("Model: {} parameters", format_count(result.model.parameters));
  if (result.model.frozen > 0) out += fmt::format(" and {} frozen", format_count(result.model.frozen));
  out += fmt::format(" ({}); data: {} examples", result.model.kind, format_count(result.data.examples));
  if (result.data.test_examples > 0)
    out += fmt::format(", {} for testing", format_count(result.data.test_examples));
  return out + "\n";
}

double gradient_norm_of(const Result& result, const std::string& layer) {
  if (result.objective)
    for (const auto& [name, norm] : result.objective->gradient_norms)
      if (name == layer) return norm;
  return std::nan("");
}

std::string layers_text(const Result& result) {
  bool gradients = result.objective.has_value();
  std::vector<std::string> header{"layer", "shape", "parameters"};
  if (gradients) header.push_back("gradient norm");
  TextTable table(header);
  for (const auto& layer : result.model.layers) {
    std::vector<std::string> row{layer.name, shape_text(layer.shape), format_count(layer.parameters)};
    if (gradients)
      row.push_back(layer.parameters == 0 ? "-" : number_or_unknown(gradient_norm_of(result, layer.name)));
    table.add(row);
  }
  return table.str();
}

// Which layer's gradient is the weakest against the strongest: the first thing to look at when training
// stalls.
std::string gradient_meaning(const ObjectiveRecord& objective) {
  const auto& norms = objective.gradient_norms;
  if (norms.size() < 2) return "";
  auto by_norm = [](const auto& a, const auto& b) { return a.second < b.second; };
  auto [weakest, strongest] = std::minmax_element(norms.begin(), norms.end(), by_norm);
  if (weakest->second == 0) return fmt::format("  No gradient reaches {}.\n", weakest->first);
  double ratio = strongest->second / weakest->second;
  const char* meaning = ratio > 1e4   ? "beyond 10,000 gradients vanish on the way"
                        : ratio > 100 ? "unevenly scaled, beyond 100"
                                      : "no more than 100, which hinders no method";
  return fmt::format("  Gradients differ by a factor of {} between {} and {}: {}.\n", format_number(ratio),
                     strongest->first, weakest->first, meaning);
}

std::string objective_text(const ObjectiveRecord& objective) {
  return fmt::format("\nObjective: loss {}, gradient norm {} (exact sums over all the data)\n",
                     format_number(objective.value), format_number(objective.gradient_norm));
}

std::string metrics_table(double loss, const std::map<std::string, double>& metrics,
                          const std::map<std::string, double>& test) {
  TextTable table(test.empty() ? std::vector<std::string>{"", "training"}
                               : std::vector<std::string>{"", "training", "test"});
  auto add = [&](const std::string& name, double value) {
    std::vector<std::string> row{name, number_or_unknown(value)};
    if (!test.empty()) row.push_back(test.count(name) ? number_or_unknown(test.at(name)) : "-");
    table.add(row);
  };
  add("loss", loss);
  for (const auto& [name, value] : metrics) add(name, value);
  return table.str();
}

std::string loss_text(double before, double after) {
  if (std::isnan(before) || std::isnan(after))
    return fmt::format("  The loss went from {} to {}.\n", number_or_unknown(before),
                       number_or_unknown(after));
  if (before == after) return fmt::format("  The loss stayed at {}.\n", format_number(after));
  return fmt::format("  The loss {} from {} to {}.\n", after < before ? "fell" : "rose",
                     format_number(before), format_number(after));
}

std::string training_text(const TrainingRecord& training) {
  std::string out = fmt::format("\n{}: {} {}, {} {}; {}\n", training.method, format_count(training.steps),
                                training.steps == 1 ? "step" : "steps", format_number(training.epochs),
                                training.epochs == 1 ? "epoch" : "epochs", training.stop.message);
  out += loss_text(training.initial_loss, training.loss);
  out += metrics_table(training.loss, training.metrics, training.test);
  if (training.reached)
    out += *training.reached ? "  The target was reached.\n" : "  The target was not reached.\n";
  if (const auto& curvature = training.curvature) {
    out += fmt::format("  Positive semidefinite: {}\n", curvature->message);
    if (curvature->steps > 0)
      out += fmt::format("  Steps along negative curvature: {}\n", format_count(curvature->steps));
  }
  if (training.watch) out += to_text(*training.watch);
  return out;
}

std::string list_or_none(const std::vector<std::string>& list) {
  return list.empty() ? "none" : fmt::format("{}", fmt::join(list, ", "));
}

std::string layers_text(const std::vector<LayerCheck>& layers) {
  if (layers.empty()) return "";
  TextTable table({"layer", "kind", "closed forms", "second derivative", "flops", "bytes"});
  for (const auto& layer : layers)
    table.add({layer.name, layer.kind.empty() ? "-" : layer.kind,
               layer.covered ? "yes" : "no: " + layer.reason, layer.second_derivative ? "yes" : "no",
               layer.covered ? format_number(layer.flops) : "-",
               layer.covered ? format_bytes(layer.bytes) : "-"});
  return "\n  By layer; flops and bytes of outputs are those of an example:\n" + table.str();
}

std::string check_text(const CheckRecord& check) {
  std::string out = fmt::format(
      "\n  inputs              {}\n  targets             {}\n  outputs             {}\n",
      fmt::join(check.inputs, "; "), fmt::join(check.targets, "; "), fmt::join(check.outputs, "; "));
  out += fmt::format("  deterministic       {}\n",
                     check.deterministic ? "yes" : "no: the same inputs give other outputs the next time");
  out += fmt::format("  examples            {}\n",
                     check.independent ? "independent" : "coupled: outputs depend on the others in a batch");
  out += fmt::format("  second derivatives  {}\n",
                     check.second_derivatives ? "yes" : "no: " + check.second_derivatives_message);
  out += fmt::format("  unused parameters   {}\n", list_or_none(check.unused));
  if (!check.zero_gradient.empty())
    out +=
        fmt::format("  gradient exactly 0  {} (on the examples tried)\n", list_or_none(check.zero_gradient));
  return out + layers_text(check.layers);
}

}  // namespace

std::string to_text(const PlanRecord& plan) {
  return fmt::format("{}: {} ge, about {}, {} of a memory budget of {}", plan.words,
                     format_number(plan.gradient_equivalents),
                     std::isnan(plan.seconds) ? "unknown time" : format_seconds(plan.seconds),
                     format_bytes(plan.bytes), format_bytes(plan.budget));
}

std::string to_text(const Result& result) {
  std::string out = model_text(result);
  bool layers = result.command == "analyze" || result.command == "check";
  if (result.objective) out += objective_text(*result.objective);
  if (layers) out += layers_text(result);
  if (result.objective) out += gradient_meaning(*result.objective);
  for (const auto& [matrix, spectrum] : result.spectrum) out += to_text(matrix, spectrum);
  if (result.gradient_flow) out += "\nGradient flow\n  " + result.gradient_flow->report();
  if (result.training) out += training_text(*result.training);
  if (result.comparison) out += to_text(*result.comparison);
  if (result.evaluation)
    out += metrics_table(result.evaluation->loss, result.evaluation->metrics, result.evaluation->test);
  if (result.advice) out += to_text(*result.advice);
  if (result.through) out += to_text(*result.through);
  if (result.check) out += check_text(*result.check);
  if (result.plan && result.check) out += fmt::format("  plan                {}\n", to_text(*result.plan));
  for (const auto& note : result.notes) out += fmt::format("\nNote: {}.\n", note);
  if (result.status != "done") out += fmt::format("\nThis result is not complete: {}.\n", result.status);
  out += fmt::format("\nCost: {} ge, {}, at most {} of memory\n",
                     format_number(result.cost.gradient_equivalents), format_seconds(result.cost.seconds),
                     format_bytes(result.cost.peak_bytes));
  if (result.processes > 1)
    out += fmt::format("Communication of {} processes: {} in {} reductions, {}\n", result.processes,
                       format_bytes(result.traffic.bytes), format_count(result.traffic.calls),
                       format_seconds(result.traffic.seconds));
  return out;
}

}  // namespace osculant
