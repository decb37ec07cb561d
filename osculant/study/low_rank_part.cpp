#include <algorithm>

#include "osculant/comm/communicator.h"
#include "osculant/spectrum/low_rank_curve.h"
#include "osculant/study/analysis_part.h"

namespace osculant {
namespace {

LowRankRecord record_of(const LowRankCurves& found) {
  LowRankRecord record;
  record.wanted = found.wanted;
  record.frobenius = record_of(found.frobenius);
  record.exact = found.exact;
  record.how = found.how;
  for (const auto& curve : found.curves) {
    LowRankRecord::Method method;
    method.name = to_string(curve.method);
    for (const auto& error : curve.error) method.error.push_back(record_of(error));
    if (curve.most() >= 0) {
      LowRankRecord::Rank rank;
      rank.low = curve.rank_low;
      if (curve.rank_high >= 0) rank.high = curve.rank_high;
      method.rank = rank;
    }
    method.words = curve.rank_words();
    method.note = curve.note;
    method.products = curve.products;
    record.methods.push_back(std::move(method));
  }
  return record;
}

}  // namespace

std::optional<AnalysisPart> low_rank_part(const Problem& problem, const MatrixKind& kind, RunConfig& config) {
  AnalyzeConfig& a = config.analyze;
  if (*(a.low_rank = a.low_rank.value_or(0)) == 0) return std::nullopt;
  LowRankCurveOptions options;
  options.count = *a.low_rank;
  options.wanted = *(a.low_rank_error = a.low_rank_error.value_or(options.wanted));
  options.dense_limit = analysis_dense_limit;
  options.seed = config.seed();
  auto measure = [options](MatrixInHand& matrix) {
    bool going = true;
    LowRankCurveOptions watched = options;
    watched.progress = [&](int64_t) { return going = matrix.go_on("low rank"); };
    LowRankCurves found = low_rank_curves(matrix.A, watched, matrix.known_pairs());
    if (going) matrix.record.low_rank = record_of(found);
  };
  int64_t n = problem.model.parameters();
  AnalysisPart part{"low_rank", low_rank_curve_products(n, !kind.needs.hessian, options), 0, measure};
  if (n <= options.dense_limit) {
    part.whole_vectors = 12 * n;
    return part;
  }
  // Probes with their products and what a method leaves of them; the factors of all methods; a sketch. Probes
  // and sketches are drawn whole before a process takes its rows of them.
  int64_t sketch = options.count + options.oversampling;
  part.vectors = 3 * options.probes + 6 * options.count + 3 * sketch;
  if (!world_communicator().alone()) part.whole_vectors = std::max(options.probes, sketch);
  return part;
}

}  // namespace osculant
