#include <algorithm>

#include "osculant/comm/communicator.h"
#include "osculant/spectrum/trace.h"
#include "osculant/study/analysis_part.h"

namespace osculant {
namespace {

constexpr int64_t default_probes = 100;

}  // namespace

std::optional<AnalysisPart> trace_part(const Problem& problem, const MatrixKind&, RunConfig& config) {
  int64_t n = problem.model.parameters();
  auto& probes = config.analyze.trace_probes;
  probes = probes.value_or(n <= analysis_dense_limit ? std::max(n, default_probes) : default_probes);
  TraceOptions options;
  options.products = *probes;
  options.seed = config.seed();
  options.sketch_bytes = std::min(options.sketch_bytes, problem.memory_budget / 4);
  auto measure = [options](MatrixInHand& matrix) {
    TraceOptions watched = options;
    watched.progress = [&](int64_t) { return matrix.go_on("the trace"); };
    TraceResult found = trace(matrix.A, watched);
    matrix.record.trace = TraceRecord{found.value, found.low, found.high, found.probes, found.exact};
  };
  return AnalysisPart{
      "trace", std::min(*probes, n),
      options.vectors(VectorSpace(n, problem.model.layout().options()).dealt_to(world_communicator())),
      measure};
}

}  // namespace osculant
