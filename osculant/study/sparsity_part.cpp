#include "osculant/spectrum/sparsity.h"

#include <algorithm>
#include <cmath>

#include "osculant/base/error.h"
#include "osculant/study/analysis_part.h"

namespace osculant {
namespace {

constexpr int64_t default_products_by_layer = 10;

SparsityRecord record_of(const SparsityResult& found) {
  SparsityRecord record;
  record.structure = to_string(found.structure);
  record.width = found.width;
  record.words = found.words;
  record.tolerance = found.tolerance;
  for (const auto& block : found.blocks) record.layers.push_back({block.name, block.size});
  for (const auto& row : found.norms) {
    record.norms.emplace_back();
    for (const auto& norm : row) record.norms.back().push_back(record_of(norm));
  }
  record.frobenius = record_of(found.frobenius);
  record.off_diagonal = record_of(found.off_diagonal);
  for (const auto& norm : found.beyond) record.beyond.push_back(record_of(norm));
  record.scale = found.scale;
  record.largest_high = found.largest_high;
  record.threshold = found.threshold;
  record.negligible = record_of(found.negligible);
  record.columns = found.columns;
  record.miss_probability = found.miss_probability;
  record.exact = found.exact;
  record.how = found.how;
  return record;
}

// Writes the defaults into the run's configuration.
SparsityOptions sparsity_options(const std::vector<LayerBlock>& blocks, RunConfig& config) {
  AnalyzeConfig& a = config.analyze;
  SparsityOptions options;
  int64_t products =
      std::max(options.norm_products, default_products_by_layer * static_cast<int64_t>(blocks.size()));
  options.norm_products = *(a.sparsity_products = a.sparsity_products.value_or(products));
  options.columns = *(a.sparsity_columns = a.sparsity_columns.value_or(options.columns));
  options.threshold = *(a.sparsity_threshold = a.sparsity_threshold.value_or(options.threshold));
  options.dense_limit = analysis_dense_limit;
  options.seed = config.seed();
  return options;
}

constexpr int64_t vectors_at_work = 24;  // a block of probes, its products, sums over them

}  // namespace

std::optional<AnalysisPart> sparsity_part(const Problem& problem, const MatrixKind&, RunConfig& config) {
  if (!*(config.analyze.sparsity = config.analyze.sparsity.value_or(false))) return std::nullopt;
  auto blocks = layer_blocks(problem.model.layout());
  SparsityOptions options = sparsity_options(blocks, config);
  bool formed = problem.model.parameters() <= options.dense_limit;
  if (!formed)
    require_at_least(config.origin("analyze.sparsity_products"), static_cast<double>(options.norm_products),
                     static_cast<double>(least_norm_products(blocks)));
  auto measure = [options, blocks](MatrixInHand& matrix) {
    bool going = true;
    SparsityOptions watched = options;
    watched.progress = [&](int64_t) { return going = matrix.go_on("sparsity"); };
    SparsityResult found = sparsity(matrix.whole, blocks, watched, matrix.known_pairs());
    if (going) matrix.record.sparsity = record_of(found);
  };
  int64_t own = formed || pairs_wanted(config) > 0 ? 0 : 100;  // products for the largest eigenvalue
  AnalysisPart part{"sparsity", sparsity_products(blocks, options) + own, 0, measure};
  part.whole_vectors = formed ? problem.model.parameters() : vectors_at_work;
  return part;
}

std::optional<AnalysisPart> layer_norm_part(const Problem& problem, const MatrixKind& kind,
                                            RunConfig& config) {
  const AnalyzeConfig& a = config.analyze;
  auto curvature = std::find_if(a.matrix.begin(), a.matrix.end(),
                                [](const auto& name) { return find_matrix(name).models_objective; });
  bool first = curvature != a.matrix.end() && *curvature == kind.name;
  if (!a.gradient_flow.value_or(false) || a.sparsity.value_or(false) || !first) return std::nullopt;
  auto blocks = layer_blocks(problem.model.layout());
  SparsityOptions options;
  options.norm_products = least_norm_products(blocks);
  options.seed = config.seed();
  auto measure = [options, blocks](MatrixInHand& matrix) {
    // A network that is dead or exploding is not called flat whatever its curvature.
    if (!matrix.flow || matrix.flow->verdict != FlowVerdict::healthy) return;
    SparsityOptions watched = options;
    watched.progress = [&](int64_t) { return matrix.go_on("norms of layers"); };
    auto norms = diagonal_block_norms(matrix.whole, blocks, watched);
    for (size_t b = 0; b < norms.size(); ++b)
      matrix.record.layer_norms.emplace_back(blocks[b].name, record_of(norms[b]));
  };
  AnalysisPart part{"layer_norms", block_norm_products(blocks, options), 0, measure};
  part.whole_vectors = vectors_at_work;
  return part;
}

std::vector<LayerCurvature> layer_curvature(const SpectrumRecord& record) {
  std::vector<LayerCurvature> curvature;
  auto add = [&](const std::string& layer, const IntervalRecord& norm) {
    if (std::isfinite(norm.value)) curvature.push_back({layer, {norm.value, norm.low, norm.high}});
  };
  for (const auto& [layer, norm] : record.layer_norms) add(layer, norm);
  if (record.layer_norms.empty() && record.sparsity)
    for (size_t b = 0; b < record.sparsity->layers.size(); ++b)
      add(record.sparsity->layers[b].name, record.sparsity->norms[b][b]);
  return curvature;
}

}  // namespace osculant
