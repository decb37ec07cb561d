#include "osculant/curvature/layer_sample.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "osculant/base/cost.h"
#include "osculant/base/error.h"
#include "osculant/comm/flat_reduction.h"
#include "osculant/io/archive.h"
#include "osculant/objective/differentiate.h"

namespace osculant {

void LayerSampleOptions::check() const {
  require_at_least("draws", static_cast<double>(draws), 1);
}

namespace {

ScoreGradients resolved(ScoreGradients gradients, const OutputLoss& loss) {
  if (gradients != ScoreGradients::automatic) return gradients;
  return loss->likelihood() ? ScoreGradients::sampled : ScoreGradients::exact;
}

MatrixPlace place_of(const LayerUse& use) {
  MatrixPlace place;
  place.offset = use.tap.part.offset;
  if (use.has_bias()) place.last_column = use.tap.bias->offset;
  place.columns = use.inputs + (use.has_bias() ? 1 : 0);
  place.groups = use.groups;
  place.rows = use.outputs / use.groups;
  switch (use.tap.kind) {
    case LayerKind::linear:
      place.transposed = use.tap.transposed;
      break;
    case LayerKind::embedding:
      place.transposed = true;
      break;
    case LayerKind::normalization:
      place.groups = use.outputs;
      place.rows = 1;
      break;
    case LayerKind::bias:
      place.columns = 1;
      break;
    case LayerKind::convolution:
      break;
  }
  return place;
}

// A use with its derivatives [C, N, T, outputs].
using Told = std::pair<LayerUse, Tensor>;

UseSample sample_of(const Told& told) {
  const auto& [use, d] = told;
  UseSample sample;
  sample.name = use.tap.part.name;
  sample.kind = use.tap.kind;
  sample.place = place_of(use);
  sample.of_data = !use.tap.input.requires_grad() && use.tap.kind != LayerKind::bias;
  sample.derivatives = d.unflatten(3, {sample.place.groups, sample.place.rows});
  Tensor a = inputs_of(use);
  if (use.tap.kind == LayerKind::normalization) {
    a = a.unsqueeze(3);
    if (use.has_bias()) a = at::cat({a, at::ones_like(a)}, 3);
  } else if (use.tap.kind != LayerKind::embedding) {
    a = a.unflatten(2, {sample.place.groups, sample.place.columns});
  }
  sample.inputs = a;
  return sample;
}

// Where uses of one weight do not agree on the place of M and its bias, or other weights have the same bias,
// biases become blocks of their own.
void set_biases_apart(std::vector<Told>& all) {
  auto form = [](const LayerUse& use) {
    MatrixPlace place = place_of(use);
    return std::tuple(place.groups, place.rows, place.columns, place.transposed, place.last_column);
  };
  std::map<int64_t, std::vector<size_t>> by_offset;
  std::map<int64_t, std::set<int64_t>> weights_of_bias;
  for (size_t u = 0; u < all.size(); ++u) {
    const LayerTap& tap = all[u].first.tap;
    by_offset[tap.part.offset].push_back(u);
    if (tap.bias) weights_of_bias[tap.bias->offset].insert(tap.part.offset);
  }
  for (const auto& uses : by_offset) {
    const auto& same = uses.second;
    bool agree = std::all_of(same.begin(), same.end(), [&](size_t u) {
      const LayerUse& use = all[u].first;
      bool own_bias = !use.has_bias() || weights_of_bias[use.tap.bias->offset].size() == 1;
      return own_bias && form(use) == form(all[same[0]].first);
    });
    for (size_t u : same) {
      if (agree || !all[u].first.has_bias()) continue;
      LayerUse bias = all[u].first;
      bias.tap.part = *std::exchange(all[u].first.tap.bias, std::nullopt);
      bias.tap.bias.reset();
      bias.tap.kind = LayerKind::bias;
      bias.groups = bias.inputs = 1;
      all.emplace_back(std::move(bias), all[u].second);
    }
  }
}

// Who has examples of every batch (share_of).
bool is_last(const Communicator& processes) {
  return processes.rank() == processes.size() - 1;
}

LayerFactors::Cotangents cotangents_of(const LayerFactors& factors, ScoreGradients gradients, int64_t draws,
                                       RandomStream& random) {
  switch (gradients) {
    case ScoreGradients::exact:
      return factors.hessian_root();
    case ScoreGradients::empirical:
      return factors.loss_gradient();
    default:
      return factors.sampled_gradients(draws, random);
  }
}

// With signs s_ic the square of the sum over i and c of s_ic sqrt(w_i) (J_i'S_ic) has the diagonal of the sum
// of the outer products as its expectation (Chapelle & Erhan 2011).
std::vector<DiagonalSample> diagonals_of(const Objective& objective, const LayerFactors& factors,
                                         const LayerFactors::Cotangents& cotangents, const Tensor& weights,
                                         Share share, bool counts, RandomStream& random) {
  const auto& layout = objective.layout();
  std::vector<Tensor> leaves, signed_sums;
  for (const auto& parameter : factors.untapped()) leaves.push_back(layout.leaves()[parameter.index]);
  for (const Tensor& columns : cotangents) {
    std::vector<int64_t> by_example(static_cast<size_t>(columns.dim()), 1);
    by_example[0] = columns.size(0);
    by_example[1] = columns.size(1);
    Tensor signs = random.rademacher({columns.size(0), factors.examples_of_batch()}, columns.options());
    signs = signs.narrow(1, share.begin, share.size());
    if (weights.defined()) signs = signs * weights.to(signs.options()).sqrt();
    signed_sums.push_back((columns * signs.view(by_example)).sum(0));
  }
  auto sums = grad_of(factors.outputs(), leaves, signed_sums);
  objective.charge(Price::jacobian_transpose_product, static_cast<double>(factors.examples_of_batch()));
  std::vector<Tensor> flat;
  for (size_t p = 0; p < leaves.size(); ++p) {
    const auto& parameter = layout.parameters()[factors.untapped()[p].index];
    bool some = sums[p].defined() && counts;
    flat.push_back(some ? sums[p].flatten() : at::zeros({parameter.size}, layout.options()));
  }
  // The square is that of the sum over all examples, which one process counts.
  const Communicator& processes = objective.communicator();
  all_reduce_sum(processes, flat);
  std::vector<DiagonalSample> diagonals;
  for (size_t p = 0; p < leaves.size(); ++p) {
    const auto& parameter = layout.parameters()[factors.untapped()[p].index];
    diagonals.push_back({parameter.name, parameter.offset, flat[p].square()});
    if (!is_last(processes)) diagonals.back().values.zero_();
  }
  return diagonals;
}

}  // namespace

LayerSampler::LayerSampler(const LayerSampleOptions& options) : options_((options.check(), options)) {}

LayerSampler::Form LayerSampler::form_of(const LayerFactors& factors) {
  Form form;
  for (const auto& use : factors.uses()) form.strides.push_back(use.stride);
  for (const auto& parameter : factors.untapped()) form.untapped.push_back(parameter.index);
  return form;
}

// A process without examples looks at the first, so that it knows the layers, and does not count it.
LayerSampler::Part LayerSampler::part_of(const Objective& objective, size_t term, const Batch& batch) {
  const Communicator& processes = objective.communicator();
  const Model& model = objective.terms()[term].model;
  if (processes.alone() || model.required_batch_size() > 0 || model.couples_examples())
    return {batch, {0, batch.size()}, is_last(processes)};
  Share share = share_of(batch.size(), processes);
  bool counts = share.size() > 0;
  if (!counts) share = {0, 1};
  return {batch.slice(share.begin, share.end), share, counts};
}

LayerFactors LayerSampler::factors_of(const Objective& objective, size_t term, const Batch& batch,
                                      Part& part) {
  constexpr int64_t enough = 16;
  std::pair key(term, batch.size());
  auto whole = [&](bool verify) {
    part = {batch, {0, batch.size()}, is_last(objective.communicator())};
    return LayerFactors(objective, term, batch, {.verify = verify});
  };
  if (!verified_.contains(key)) {
    if (batch.size() <= enough) {
      LayerFactors factors = whole(true);
      verified_.emplace(key, form_of(factors));
      return factors;
    }
    try {
      verified_.emplace(key, form_of(LayerFactors(objective, term, batch.slice(0, enough))));
    } catch (const Error&) {  // a program exported for one batch size alone
      verified_.emplace(key, form_of(LayerFactors(objective, term, batch)));
    }
  }
  LayerFactors factors(
      objective, term, part.batch,
      {.verify = false, .strides = verified_.at(key).strides, .share = part.share, .of = batch.size()});
  bool as_verified = form_of(factors) == verified_.at(key);
  if (objective.communicator().least(as_verified ? 1 : 0) > 0) return factors;
  return whole(true);
}

LayerSample LayerSampler::sample_of(const Objective& objective, size_t term_index, const Batch& batch,
                                    RandomStream& random) {
  const Term& term = objective.terms()[term_index];
  Part part = part_of(objective, term_index, batch);
  LayerFactors factors = factors_of(objective, term_index, batch, part);
  LayerSample sample;
  sample.term = term_index;
  sample.weights = part.batch.weights;
  sample.untapped = factors.untapped();
  sample.denominator = 0;
  if (part.counts) sample.denominator = term.loss->denominator(factors.outputs(), part.batch).item<double>();
  auto gradients = resolved(options_.gradients, term.loss);
  sample.share = part.counts ? term.weight : 0;
  if (gradients == ScoreGradients::sampled) sample.share /= static_cast<double>(options_.draws);
  bool diagonal = options_.untapped && !sample.untapped.empty();
  if (factors.uses().empty() && !diagonal) return sample;

  auto cotangents = cotangents_of(factors, gradients, options_.draws, random);
  std::vector<Told> told;
  if (!factors.uses().empty()) {
    auto d = factors.derivatives(cotangents);
    for (size_t u = 0; u < d.size(); ++u) told.emplace_back(factors.uses()[u], d[u]);
  }
  set_biases_apart(told);
  for (const auto& one : told) sample.uses.push_back(osculant::sample_of(one));
  if (diagonal)
    sample.diagonals =
        diagonals_of(objective, factors, cotangents, part.batch.weights, part.share, part.counts, random);
  return sample;
}

void LayerSampler::run(const Objective& objective, RandomStream& random,
                       const std::function<void(const LayerSample&)>& visit) {
  if (!objective.has_outputs())
    fail_usage("curvature of layers: the objective is a function of the parameters alone, without layers");
  for (size_t t = 0; t < objective.terms().size(); ++t)
    for (int64_t b = 0; b < objective.terms()[t].data.batches(); ++b)
      visit(sample_of(objective, t, objective.batch(t, b), random));
}

// Each form as [term, batch size, uses, strides..., untapped...].
void LayerSampler::save(Archive& archive) const {
  int64_t count = 0;
  for (const auto& [key, form] : verified_) {
    std::vector<double> numbers{static_cast<double>(key.first), static_cast<double>(key.second),
                                static_cast<double>(form.strides.size())};
    numbers.insert(numbers.end(), form.strides.begin(), form.strides.end());
    numbers.insert(numbers.end(), form.untapped.begin(), form.untapped.end());
    archive.put(fmt::format("form.{}", count++), numbers);
  }
  archive.put("forms", count);
}

void LayerSampler::load(const Archive& archive) {
  verified_.clear();
  for (int64_t i = 0; i < archive.integer("forms"); ++i) {
    auto numbers = archive.numbers(fmt::format("form.{}", i));
    if (numbers.size() < 3 || numbers[2] < 0 || numbers[2] > static_cast<double>(numbers.size() - 3))
      fail_data(fmt::format("checkpoint: entry form.{}: is damaged", i));
    auto split = numbers.begin() + 3 + static_cast<int64_t>(numbers[2]);
    Form form;
    form.strides.assign(numbers.begin() + 3, split);
    form.untapped.assign(split, numbers.end());
    verified_[{static_cast<size_t>(numbers[0]), static_cast<int64_t>(numbers[1])}] = form;
  }
}

}  // namespace osculant
