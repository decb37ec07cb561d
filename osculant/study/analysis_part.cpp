#include "osculant/study/analysis_part.h"

#include "osculant/comm/communicator.h"

namespace osculant {

std::vector<AnalysisPart> analysis_parts(const Problem& problem, const MatrixKind& kind, RunConfig& config) {
  std::vector<AnalysisPart> parts;
  for (PartMaker make : {eigenvalue_part, trace_part, rank_part, layer_rank_part, density_part, sparsity_part,
                         low_rank_part, layer_norm_part, alignment_part, slices_part, sampling_error_part})
    if (auto part = make(problem, kind, config)) parts.push_back(std::move(*part));
  return parts;
}

int64_t bytes_per_vector(const Problem& problem) {
  return problem.model.parameters() *
         static_cast<int64_t>(problem.model.layout().options().dtype().itemsize());
}

int64_t dealt_out(int64_t count) {
  int64_t processes = world_communicator().size();
  return (count + processes - 1) / processes;
}

int64_t bytes_of_rows(const Problem& problem) {
  return dealt_out(bytes_per_vector(problem));
}

int64_t pairs_wanted(const RunConfig& config) {
  return 2 * config.analyze.eigenvalues.value_or(0);
}

}  // namespace osculant
