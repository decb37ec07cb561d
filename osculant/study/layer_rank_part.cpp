#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>

#include "osculant/linop/by_rows.h"
#include "osculant/linop/operators.h"
#include "osculant/spectrum/rank.h"
#include "osculant/study/analysis_part.h"
#include "osculant/study/rank_fields.h"
#include "osculant/tensor/layer_blocks.h"

namespace osculant {
namespace {

// Of layers too large to be formed: less than is spent on the whole matrix.
constexpr int64_t eigenvalues = 3, most_steps = 30, most_probes = 4, norm_probes = 20;

LayerRankRecord record_of(const LayerBlock& block, const RankResult& rank) {
  LayerRankRecord record;
  record.name = block.name;
  record.parameters = block.size;
  put_rank(record, rank);
  return record;
}

RankOptions rank_options(const Problem& problem, const RunConfig& config) {
  const AnalyzeConfig& a = config.analyze;
  RankOptions options;
  options.threshold = a.rank_threshold.value_or(0);
  options.eigenvalues = eigenvalues;
  options.norm_probes = norm_probes;
  options.sample.steps = std::min(a.quadrature_steps.value_or(most_steps), most_steps);
  options.sample.probes = std::min(a.quadrature_probes.value_or(most_probes), most_probes);
  options.sample.dense_limit = analysis_dense_limit;
  options.sample.basis_bytes = std::max<int64_t>(problem.memory_budget / 2, 1);
  options.seed = config.seed();
  return options;
}

int64_t expected_products(const LayerBlock& block, const RankOptions& options) {
  if (block.size <= options.sample.dense_limit) return block.size;
  return eigensolver_products(options.eigenvalues) + options.norm_probes +
         options.sample.steps * options.sample.probes;
}

}  // namespace

std::optional<AnalysisPart> layer_rank_part(const Problem& problem, const MatrixKind&, RunConfig& config) {
  AnalyzeConfig& a = config.analyze;
  if (!a.rank.value_or(false) || !*(a.rank_layers = a.rank_layers.value_or(true))) return std::nullopt;
  auto blocks = layer_blocks(problem.model.layout());
  if (blocks.size() < 2) return std::nullopt;
  RankOptions options = rank_options(problem, config);
  auto measure = [options, blocks](MatrixInHand& matrix) {
    // A principal block has no higher rank than the whole.
    int64_t bound = matrix.kind.rank_bound ? matrix.kind.rank_bound(matrix.objective, matrix.config) : -1;
    std::vector<LayerRankRecord> layers;
    for (const auto& block : blocks) {
      bool going = true;
      auto go_on = [&](int64_t) { return going = matrix.go_on(fmt::format("layer {} alone", block.name)); };
      if (!go_on(0)) return;
      RankOptions own = options;
      own.sample.progress = go_on;
      if (bound >= 0) own.upper_bound = std::min(bound, block.size);
      auto indices = at::arange(block.offset, block.offset + block.size, at::kLong);
      auto layer = by_rows(restriction(borrow(matrix.whole), indices), matrix.objective.communicator());
      RankResult found = rank(*layer, own);
      if (!going) return;
      layers.push_back(record_of(block, found));
    }
    if (matrix.record.rank) matrix.record.rank->layers = std::move(layers);
  };
  int64_t products = 0;
  for (const auto& block : blocks) products += expected_products(block, options);
  return AnalysisPart{"rank_layers", products, std::max(options.sample.steps + 1, 15 * eigenvalues), measure};
}

}  // namespace osculant
