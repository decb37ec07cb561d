#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "osculant/base/error.h"
#include "osculant/base/random.h"
#include "osculant/diagnose/loss_slice.h"
#include "osculant/diagnose/sampling_error.h"
#include "osculant/linop/by_rows.h"
#include "osculant/spectrum/alignment.h"
#include "osculant/study/analysis_part.h"

// The objective about theta, seen through a matrix: where the gradient points, slices, and how much of it all
// is due to the examples at hand.

namespace osculant {
namespace {

AlignmentRecord::End record_of(const EndAlignment& end) {
  AlignmentRecord::End record;
  for (const auto& x : end.cosines) record.cosines.push_back(record_of(x));
  for (const auto& x : end.shares) record.shares.push_back(record_of(x));
  return record;
}

SamplingErrorRecord::Number record_of(const SamplingError& found) {
  SamplingErrorRecord::Number record{found.value,
                                     found.error,
                                     found.deviation,
                                     record_of(found.bias),
                                     record_of(found.predicted),
                                     record_of(found.population),
                                     {}};
  for (const auto& size : found.sizes)
    record.sizes.push_back({size.parts, size.mean, size.deviation, size.values});
  return record;
}

void require_pairs(const RunConfig& config, const char* key, int64_t count) {
  int64_t eigenvalues = config.analyze.eigenvalues.value_or(0);
  if (eigenvalues < count)
    fail_usage(fmt::format("{}: needs eigenvectors, and analyze.eigenvalues = {}: must be >= {}",
                           config.origin(key), eigenvalues, count));
}

void measure_alignment(MatrixInHand& matrix, uint64_t seed) {
  Tensor g = matrix.objective.value_and_gradient().second;
  const VectorSpace& space = matrix.A.domain();
  Alignment found = align(matrix.pairs, space.rows_of(g), space);
  auto along = [&](const Tensor& d) {
    DirectionalCurvature curvature = curvature_along(matrix.whole, d, matrix.pairs.noise);
    return AlignmentRecord::Direction{curvature.value, curvature.rounding};
  };
  RandomStream random(seed, "random direction");
  AlignmentRecord record;
  record.largest = record_of(found.largest);
  record.smallest = record_of(found.smallest);
  record.gradient = along(g);
  record.random = along(random.normal({g.size(0)}, g.options()));
  record.miss_probability = found.miss_probability;
  matrix.record.alignment = std::move(record);
}

struct SlicesWanted {
  int64_t directions, planes;
  SliceOptions line, plane;
  SliceNormalization normalization = SliceNormalization::none;
  uint64_t seed = 0;
};

void measure_slices(MatrixInHand& matrix, const SlicesWanted& wanted) {
  LossSlices slices(matrix.objective, matrix.whole);
  SlicesRecord& record = matrix.record.slices.emplace();
  SliceOptions line = wanted.line, plane = wanted.plane;
  line.go_on = plane.go_on = [&] { return matrix.go_on("slices of the objective"); };
  auto add = [&](const std::string& direction, int64_t column) {
    LossLine found = slices.line(matrix.A.domain().gather(matrix.pairs.vectors.select(1, column)), line);
    record.lines.push_back({direction, found.slope, found.curvature, found.radius, found.reach(), found.steps,
                            found.values, found.model});
  };
  int64_t largest = static_cast<int64_t>(matrix.pairs.largest().size());
  int64_t smallest = static_cast<int64_t>(matrix.pairs.smallest().size());
  for (int64_t i = 0; i < std::min(wanted.directions, largest); ++i) add(fmt::format("largest {}", i + 1), i);
  for (int64_t i = 0; i < std::min(wanted.directions, smallest); ++i)
    add(fmt::format("smallest {}", i + 1), largest + i);
  for (int64_t i = 0; i < wanted.planes; ++i) {
    uint64_t seed = wanted.seed + static_cast<uint64_t>(i);
    LossPlane found =
        slices.plane(random_plane(matrix.objective.layout(), wanted.normalization, seed), plane);
    record.planes.push_back({std::string(to_string(wanted.normalization)), static_cast<int64_t>(seed),
                             found.radius, found.steps, found.values, found.model});
  }
}

SliceNormalization normalization_of(const std::string& name) {
  for (auto kind : {SliceNormalization::layer, SliceNormalization::filter})
    if (name == to_string(kind)) return kind;
  return SliceNormalization::none;
}

}  // namespace

std::optional<AnalysisPart> alignment_part(const Problem&, const MatrixKind&, RunConfig& config) {
  if (!*(config.analyze.alignment = config.analyze.alignment.value_or(false))) return std::nullopt;
  require_pairs(config, "analyze.alignment", 1);
  auto seed = config.seed();
  auto measure = [seed](MatrixInHand& matrix) { measure_alignment(matrix, seed); };
  AnalysisPart part{"alignment", 2, 0, measure};
  part.evaluations = 3;  // a gradient
  part.whole_vectors = 4;
  return part;
}

std::optional<AnalysisPart> slices_part(const Problem&, const MatrixKind& kind, RunConfig& config) {
  AnalyzeConfig& a = config.analyze;
  if ((!a.slices && !a.slice_planes) || !kind.models_objective) return std::nullopt;
  a.slices = a.slices.value_or(0);
  a.slice_planes = a.slice_planes.value_or(1);
  if (*a.slices > 0) require_pairs(config, "analyze.slices", *a.slices);
  if (a.slice_normalization.empty()) a.slice_normalization = "none";
  SlicesWanted wanted;
  wanted.directions = *a.slices;
  wanted.planes = *a.slice_planes;
  wanted.line.points = *(a.slice_points = a.slice_points.value_or(SliceOptions{}.points));
  wanted.plane.points = *(a.plane_points = a.plane_points.value_or(11));
  wanted.line.radius = wanted.plane.radius = a.slice_radius.value_or(0);
  wanted.normalization = normalization_of(a.slice_normalization);
  wanted.seed = config.seed();
  wanted.line.check();
  wanted.plane.check();
  auto measure = [wanted](MatrixInHand& matrix) { measure_slices(matrix, wanted); };
  int64_t lines = 2 * wanted.directions;
  AnalysisPart part{"slices", lines + 2 * wanted.planes, 0, measure};
  part.whole_vectors = 8;
  part.evaluations =
      3 + lines * wanted.line.points + wanted.planes * wanted.plane.points * wanted.plane.points;
  return part;
}

std::optional<AnalysisPart> sampling_error_part(const Problem& problem, const MatrixKind&,
                                                RunConfig& config) {
  if (!*(config.analyze.sampling_error = config.analyze.sampling_error.value_or(false))) return std::nullopt;
  require_parts(problem.objective(problem.train.size()));
  SamplingErrorOptions options;
  options.tolerance = config.analyze.tolerance.value_or(options.tolerance);
  options.dense_limit = analysis_dense_limit;
  options.seed = config.seed();
  options.basis_bytes = std::max<int64_t>(problem.memory_budget / 4, 1);
  int64_t n = problem.model.parameters();
  bool formed = n <= options.dense_limit;
  int64_t trace = formed ? n : options.trace_products, pairs = formed ? n : 110, sizes = 3;
  int64_t vectors = std::min<int64_t>(100, options.basis_bytes / bytes_of_rows(problem) + 1) + 8;
  auto measure = [options, vectors, pairs, trace](MatrixInHand& matrix) {
    SamplingErrorOptions watched = options;
    watched.go_on = [&](const SamplingProgress& now) {
      matrix.elsewhere = static_cast<int64_t>(now.sizes_done * static_cast<double>(pairs + trace));
      return matrix.go_on(fmt::format("sampling error, {} of {} matrices", now.matrix, now.matrices));
    };
    // The parts' graphs take what those of the whole and the vectors leave.
    const Objective& objective = matrix.objective;
    int64_t budget = objective.memory_budget();
    int64_t taken = (matrix.held ? matrix.held() : 0) + vectors * bytes_of_rows(matrix.problem);
    objective.set_memory_budget(std::max<int64_t>(matrix.problem.memory_budget - taken, 0));
    auto make = [&](const Objective& part) {
      return by_rows(matrix.kind.make(part, matrix.config), part.communicator());
    };
    auto found = sampling_error(objective, matrix.A, make, matrix.known_pairs(), watched);
    objective.set_memory_budget(budget);
    if (!found.finished) return;
    matrix.record.sampling_error = {record_of(found.largest), record_of(found.smallest),
                                    record_of(found.trace), objective.examples()};
  };
  return AnalysisPart{"sampling_error", sizes * (pairs + trace) + trace, vectors, measure};
}

}  // namespace osculant
