#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "osculant/base/error.h"
#include "osculant/comm/communicator.h"
#include "osculant/io/single_writer.h"
#include "osculant/spectrum/eigen_file.h"
#include "osculant/study/analysis_part.h"

namespace osculant {
namespace {

constexpr int64_t default_eigenvalues = 10;

bool formed(const Problem& problem, int64_t wanted) {
  int64_t n = problem.model.parameters();
  return n <= analysis_dense_limit || n <= 4 * wanted;
}

int64_t expected_products(const Problem& problem, int64_t wanted) {
  return formed(problem, wanted) ? problem.model.parameters() : eigensolver_products(wanted);
}

// The Krylov basis: as large as the eigensolver likes, within half of the memory budget and no smaller than
// it can work with.
int64_t krylov_dimension(const Problem& problem, int64_t wanted) {
  int64_t n = problem.model.parameters();
  int64_t affordable = problem.memory_budget / 2 / std::max<int64_t>(bytes_of_rows(problem), 1);
  int64_t least = wanted + 20;
  return std::min(n, std::max(least, std::min(affordable, std::max<int64_t>(100, 15 * wanted))));
}

std::string doing(const EigenProgress& progress) {
  if (progress.checking) return "looking for missed eigenvalues";
  return fmt::format("{} of {} eigenvalues converged", progress.converged, progress.wanted);
}

void put(SpectrumRecord& record, const EigenResult& eigen) {
  record.largest = records_of(eigen.largest(), eigen.pairing_bound);
  record.smallest = records_of(eigen.smallest(), eigen.pairing_bound);
  record.stop = eigen.message;
  record.converged = eigen.converged();
  record.tolerance = eigen.tolerance;
  record.pairing_failure_probability = eigen.pairing_failure_probability;
  record.miss_probability = eigen.miss_probability();
}

namespace fs = std::filesystem;

fs::path kept_folder(const std::string& folder) {
  return fs::path(folder) / "eigenpairs";
}

fs::path kept_file(const MatrixInHand& matrix) {
  return kept_folder(matrix.folder) / (matrix.kind.name + ".safetensors");
}

// The first process gathers the vectors, when their basis is gone.
void keep(const MatrixInHand& matrix) {
  if (matrix.folder.empty()) return;
  EigenResult whole = matrix.pairs;
  whole.vectors = matrix.A.domain().gather_on_first(matrix.pairs.vectors);
  if (!writes_files()) return;
  fs::create_directories(kept_folder(matrix.folder));
  save_eigenpairs(whole, kept_file(matrix).string());
}

EigenResult load(const MatrixInHand& matrix, const fs::path& file) {
  EigenResult pairs = load_eigenpairs(file.string());
  if (pairs.size != matrix.A.cols())
    fail_data(fmt::format("{}: pairs of {} rows, and the {} has {}", file.string(), pairs.size,
                          matrix.kind.title, matrix.A.cols()));
  const VectorSpace& space = matrix.A.domain();
  pairs.vectors = space.rows_of(pairs.vectors).to(space.options());
  return pairs;
}

// The same for all processes, of whom one writes.
bool is_there(const fs::path& file) {
  return world_communicator().of_first(fs::exists(file) ? 1 : 0) > 0;
}

bool restore(MatrixInHand& matrix) {
  if (!is_there(kept_file(matrix))) return false;
  matrix.pairs = load(matrix, kept_file(matrix));
  return true;
}

// Vectors to begin with: those of an interrupted session, or of another analysis.
Tensor start_of(const MatrixInHand& matrix, const std::string& other) {
  if (!matrix.folder.empty() && is_there(kept_file(matrix))) return load(matrix, kept_file(matrix)).vectors;
  if (other.empty()) return {};
  fs::path file =
      fs::is_directory(other) ? kept_folder(other) / (matrix.kind.name + ".safetensors") : fs::path(other);
  if (!fs::exists(file))
    fail_usage(
        fmt::format("analyze.start_from = \"{}\": there is no {}; an analysis leaves it with "
                    "analyze.keep_eigenpairs = true",
                    other, file.string()));
  return load(matrix, file).vectors;
}

}  // namespace

std::vector<EigenvalueRecord> records_of(const std::vector<Eigenvalue>& found, double pairing_bound) {
  std::vector<EigenvalueRecord> list;
  for (const auto& pair : found)
    list.push_back({pair.value, std::max(pair.residual, pairing_bound), pair.residual});
  return list;
}

// About 6 products for each pair beside 60 to begin with, half as many again for the search for pairs that
// were missed, and up to one each to verify.
int64_t eigensolver_products(int64_t pairs) {
  return 90 + 10 * pairs;
}

void discard_kept_pairs(const std::string& folder) {
  if (!writes_files()) return;
  std::error_code ignored;
  fs::remove_all(kept_folder(folder), ignored);
}

std::optional<AnalysisPart> eigenvalue_part(const Problem& problem, const MatrixKind&, RunConfig& config) {
  AnalyzeConfig& a = config.analyze;
  a.eigenvalues = a.eigenvalues.value_or(default_eigenvalues);
  a.tolerance = a.tolerance.value_or(EigenOptions{}.tolerance);
  int64_t wanted = pairs_wanted(config);
  if (wanted == 0) return std::nullopt;
  EigenOptions options;
  options.count = *a.eigenvalues;
  options.target = EigenTarget::both;
  options.dense_limit = analysis_dense_limit;
  options.tolerance = *a.tolerance;
  options.seed = config.seed();
  options.krylov_dimension = krylov_dimension(problem, wanted);
  options.check_products = a.check_products.value_or(options.check_products);
  auto measure = [options, other = a.start_from](MatrixInHand& matrix) {
    EigenOptions watched = options;
    watched.start = start_of(matrix, other);
    watched.progress = [&](const EigenProgress& progress) { return matrix.go_on(doing(progress)); };
    matrix.pairs = eigenpairs(matrix.A, watched);
    put(matrix.record, matrix.pairs);
    keep(matrix);
  };
  AnalysisPart part{"eigenvalues", expected_products(problem, wanted), options.krylov_dimension, measure,
                    restore};
  // Those that the first process writes.
  if (!world_communicator().alone() && dealt_out(part.vectors) < wanted)
    part.whole_vectors = wanted - dealt_out(part.vectors);
  return part;
}

}  // namespace osculant
