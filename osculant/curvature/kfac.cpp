#include "osculant/curvature/kfac.h"

#include <ATen/ATen.h>

#include <optional>
#include <utility>

#include "osculant/curvature/curvature.h"

namespace osculant {
namespace {

constexpr const char* kStream = "kfac";

int64_t bytes_of(const LayerSample& sample) {
  int64_t bytes = 0;
  for (const auto& use : sample.uses)
    bytes += static_cast<int64_t>(use.inputs.nbytes() + use.derivatives.nbytes());
  return bytes;
}

using Bases = std::function<std::optional<std::vector<EigenBlock>>(const std::vector<KroneckerBlock>&)>;

// Samples serve factors and eigenvalues alike; what the memory budget does not hold is made a second time,
// with the same draws.
Ekfac corrected(const Objective& objective, const KfacOptions& options, const Bases& bases) {
  LayerSampler sampler(options.sample);
  KroneckerFactors factors(options.sharing, options.max_dimension, objective.memory_budget());
  RandomStream random(options.sample.seed, kStream);
  std::vector<LayerSample> kept;
  int64_t bytes = 0, budget = objective.memory_budget();
  sampler.run(objective, random, [&](const LayerSample& sample) {
    factors.add(sample);
    bytes += bytes_of(sample);
    if (bytes <= budget)
      kept.push_back(sample);
    else
      kept.clear();
  });
  const Communicator& processes = objective.communicator();
  bool all_kept = processes.least(bytes <= budget ? 1 : 0) > 0;
  factors.share(processes);
  auto found = bases(factors.blocks());
  if (!found) return {nullptr, factors.untapped()};
  EigenvalueSums values(*std::move(found));
  if (all_kept) {
    for (const auto& sample : kept) values.add(sample);
  } else {
    RandomStream again(options.sample.seed, kStream);
    sampler.run(objective, again, [&](const LayerSample& sample) { values.add(sample); });
  }
  values.share(processes);
  auto matrix = std::make_shared<KroneckerEigen>(parameter_space(objective), values.blocks(), 0.0, "ekfac");
  return {matrix, factors.untapped()};
}

}  // namespace

Kfac kfac(const Objective& objective, const KfacOptions& options) {
  KroneckerFactors factors(options.sharing, options.max_dimension, objective.memory_budget());
  RandomStream random(options.sample.seed, kStream);
  LayerSampler(options.sample).run(objective, random, [&](const LayerSample& sample) {
    factors.add(sample);
  });
  factors.share(objective.communicator());
  auto matrix =
      std::make_shared<KroneckerOperator>(parameter_space(objective), factors.blocks(), 0.0, "kfac");
  return {matrix, factors.untapped()};
}

Ekfac ekfac(const Objective& objective, const KfacOptions& options) {
  return corrected(objective, options,
                   [&](const auto& blocks) { return eigen_blocks(blocks, objective.communicator()); });
}

Ekfac ekfac(const Objective& objective, const KfacOptions& options, const KroneckerEigen& last,
            EkfacBases bases) {
  if (bases == EkfacBases::refreshed)
    return corrected(objective, options, [&](const auto& blocks) {
      return refreshed(last.blocks(), blocks, objective.communicator());
    });
  EigenvalueSums values(last.blocks());
  std::vector<UntappedParameter> untapped;
  RandomStream random(options.sample.seed, kStream);
  LayerSampler(options.sample).run(objective, random, [&](const LayerSample& sample) {
    values.add(sample);
    untapped = sample.untapped;
  });
  values.share(objective.communicator());
  return {std::make_shared<KroneckerEigen>(parameter_space(objective), values.blocks(), 0.0, "ekfac"),
          untapped};
}

}  // namespace osculant
