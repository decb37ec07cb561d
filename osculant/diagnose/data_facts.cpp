#include "osculant/diagnose/data_facts.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>
#include <unordered_map>

#include "osculant/base/text.h"
#include "osculant/linop/operators.h"
#include "osculant/spectrum/eigenpairs.h"

namespace osculant {
namespace {

constexpr double unknown = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t most_neighbourhoods = 2000, neighbours = 10, agreeing = 8;
// Clean images of clothes have 0.05 to 0.08 of them. Where fewer surroundings are clear, that is chance.
constexpr double suspicious = 0.1, clear_share = 0.25;

// The largest eigenvalue of (X - mean)'(X - mean) / N over its trace, mean [d] or 0.
double leading_share(const Tensor& X, const Tensor& mean) {
  double trace = ((X - mean).square().sum() / X.size(0)).item<double>();
  if (!(trace > 0)) return unknown;
  auto moment = function_operator(
      {X.size(1), X.options()},
      [&](const Tensor& V) {
        Tensor XV = X.mm(V) - mean.unsqueeze(0).mm(V);
        return (X.t().mm(XV) - at::outer(mean, XV.sum(0))) / X.size(0);
      },
      "second moment of the inputs");
  auto pairs = eigenpairs(*moment, {.count = 1, .target = EigenTarget::largest, .tolerance = 1e-3});
  return pairs.size > 0 ? pairs.values[0].item<double>() / trace : unknown;
}

void describe_inputs(DataFacts& facts, const Tensor& X) {
  Tensor mean = X.mean(0), deviation = X.std(0, /*unbiased=*/false);
  // What rounding leaves of an entry that never changes.
  Tensor varies = deviation > 1e-12 * mean.abs();
  facts.constant_inputs = X.size(1) - varies.sum().item<int64_t>();
  facts.mean = X.mean().item<double>();
  facts.deviation = X.std(/*unbiased=*/false).item<double>();
  Tensor deviations = deviation.masked_select(varies);
  if (deviations.numel() > 0) facts.scale_ratio = (deviations.max() / deviations.min()).item<double>();
  facts.leading_share = leading_share(X, at::zeros_like(mean));
  facts.centred_share = leading_share(X, mean);
}

// An example's inputs in a row, [N, d]: of several those that are numbers, in float64, beside each other; a
// single one as it is. Undefined where there are none.
Tensor inputs_of(const Batch& examples) {
  auto flat = [](const NamedTensor& input) {
    Tensor t = input.tensor.detach().cpu();
    return t.numel() > 0 ? t.reshape({t.size(0), -1}).contiguous() : Tensor();
  };
  if (examples.inputs.empty()) return {};
  if (examples.inputs.size() == 1) return flat(examples.inputs.front());
  std::vector<Tensor> columns;
  for (const auto& input : examples.inputs)
    if (input.tensor.is_floating_point() && input.tensor.numel() > 0)
      columns.push_back(flat(input).to(at::kDouble));
  return columns.empty() ? flat(examples.inputs.front()) : at::cat(columns, 1);
}

// The bytes of each row.
std::vector<std::string_view> rows_of(const Tensor& t) {
  auto bytes = static_cast<size_t>(t.numel() / t.size(0)) * static_cast<size_t>(t.element_size());
  const char* data = static_cast<const char*>(t.const_data_ptr());
  std::vector<std::string_view> rows;
  for (int64_t i = 0; i < t.size(0); ++i) rows.emplace_back(data + static_cast<size_t>(i) * bytes, bytes);
  return rows;
}

void count_duplicates(DataFacts& facts, const Tensor& inputs, const Tensor& targets) {
  auto rows = rows_of(inputs);
  auto answers = targets.defined() ? rows_of(targets) : std::vector<std::string_view>();
  std::unordered_map<std::string_view, size_t> first;
  for (size_t i = 0; i < rows.size(); ++i) {
    auto [place, fresh] = first.emplace(rows[i], i);
    if (fresh) continue;
    ++facts.duplicates;
    if (!answers.empty() && answers[i] != answers[place->second]) ++facts.contradictions;
  }
}

void count_classes(DataFacts& facts, const Tensor& labels) {
  if (labels.min().item<int64_t>() < 0) return;
  Tensor counts = at::bincount(labels.flatten()), present = counts.masked_select(counts > 0);
  auto all = static_cast<double>(labels.numel());
  facts.classes = present.numel();
  facts.largest_class = present.max().item<double>() / all;
  facts.smallest_class = present.min().item<double>() / all;
}

// Wilson (1927), at 95 %.
Measured share_of(int64_t count, int64_t all) {
  if (all == 0) return {unknown, unknown, unknown};
  constexpr double z = 1.959964;
  auto n = static_cast<double>(all);
  double p = static_cast<double>(count) / n, centre = p + z * z / (2 * n);
  double half = z * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n));
  return {p, (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)};
}

void compare_with_neighbours(DataFacts& facts, const Tensor& inputs, const Tensor& labels) {
  int64_t all = inputs.size(0), looked_at = std::min(all, most_neighbourhoods);
  if (looked_at <= 2 * neighbours || facts.classes < 2) return;
  Tensor spread = at::floor_divide(at::arange(looked_at, at::kLong) * all, looked_at);
  Tensor X = inputs.reshape({all, -1}).index_select(0, spread).to(at::kFloat);
  Tensor y = labels.flatten().index_select(0, spread);
  Tensor distances = at::cdist(X, X);
  distances.fill_diagonal_(std::numeric_limits<float>::infinity());
  Tensor nearest = std::get<1>(distances.topk(neighbours, 1, /*largest=*/false));
  Tensor votes = at::one_hot(y.index_select(0, nearest.flatten()).view({looked_at, neighbours})).sum(1);
  auto [most, winner] = votes.max(1);
  Tensor clear = most >= agreeing;
  facts.clear_surroundings = clear.sum().item<int64_t>();
  facts.disagree = share_of((clear & (winner != y)).sum().item<int64_t>(), facts.clear_surroundings);
}

std::string percent(double share) {
  return fmt::format("{:.3g} %", 100 * share);
}

}  // namespace

DataFacts data_facts(const Batch& examples) {
  DataFacts facts;
  facts.mean = facts.deviation = facts.scale_ratio = facts.leading_share = facts.centred_share = unknown;
  facts.disagree = {unknown, unknown, unknown};
  facts.examples = examples.size();
  Tensor inputs = inputs_of(examples);
  Tensor targets =
      examples.targets.empty() ? Tensor() : examples.targets.front().tensor.detach().cpu().contiguous();
  if (inputs.defined()) {
    facts.inputs = inputs.size(1);
    if (inputs.is_floating_point()) describe_inputs(facts, inputs.to(at::kDouble));
    count_duplicates(facts, inputs, targets);
  }
  bool one_each = targets.defined() && targets.numel() > 0 && targets.numel() == facts.examples;
  if (one_each && at::isIntegralType(targets.scalar_type(), true))
    count_classes(facts, targets.to(at::kLong));
  bool quantities = facts.inputs > 0 && (inputs.is_floating_point() || inputs.scalar_type() == at::kByte);
  if (facts.classes > 1 && quantities) compare_with_neighbours(facts, inputs, targets.to(at::kLong));
  return facts;
}

std::vector<std::string> DataFacts::words() const {
  std::vector<std::string> out;
  if (constant_inputs > 0)
    out.push_back(fmt::format("{} of {} inputs never change: the weights on them learn nothing.",
                              format_count(constant_inputs), format_count(inputs)));
  if (leading_share > 0.3 && centred_share < 0.5 * leading_share)
    out.push_back(fmt::format(
        "One direction, the mean, has {} of the inputs' second moment, {} once it is taken away: steep for "
        "the first layer, where all else is flat. Centre the inputs (data.normalize = true).",
        percent(leading_share), percent(centred_share)));
  // Of a table's columns: the edges of images hardly vary, and should not be made to.
  if (scale_ratio > 100 && inputs <= 200)
    out.push_back(fmt::format("Deviations of the inputs differ by a factor of {}: normalise each.",
                              format_number(scale_ratio)));
  if (duplicates > 0)
    out.push_back(fmt::format("{} of {} examples have inputs that came before, {} of them another target{}.",
                              format_count(duplicates), format_count(examples), format_count(contradictions),
                              contradictions > 0 ? ": noise that no network can fit" : ""));
  if (disagree.low > suspicious &&
      clear_surroundings > clear_share * static_cast<double>(std::min(examples, most_neighbourhoods)))
    out.push_back(fmt::format(
        "Labels disagree with those of inputs nearby: of {} examples whose 10 nearest others have one label, "
        "8 "
        "or more of them, {} have another (95 %: {} to {}). Noise in the labels, or classes that overlap in "
        "these inputs; either way training accuracy beyond {} is learnt by heart. Label smoothing, weight "
        "decay, or stopping by test loss.",
        format_count(clear_surroundings), percent(disagree.value), percent(disagree.low),
        percent(disagree.high), percent(1 - disagree.low)));
  if (classes > 1 && largest_class > 3 * smallest_class)
    out.push_back(fmt::format(
        "The {} classes are of unequal size, {} of the examples to {}: naming the largest is right so often.",
        classes, percent(largest_class), percent(smallest_class)));
  return out;
}

}  // namespace osculant
