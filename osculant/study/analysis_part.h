#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "osculant/diagnose/gradient_flow.h"
#include "osculant/spectrum/eigenpairs.h"
#include "osculant/study/matrices.h"
#include "osculant/study/problem.h"
#include "osculant/study/result_directory.h"
#include "osculant/study/run_config.h"
#include "osculant/study/spectrum_record.h"

namespace osculant {

// Up to this many parameters the whole matrix is formed: for some more products nothing can have been missed,
// and what follows from eigenvalues is exact.
inline constexpr int64_t analysis_dense_limit = 500;

// A matrix under analysis and what is known of it so far. Parts add to `record`, and the first one the pairs
// that the others start from.
struct MatrixInHand {
  const LinearOperator& A;      // of vectors whose rows are dealt out to the processes, as the pairs' are
  const LinearOperator& whole;  // the same of whole vectors
  const MatrixKind& kind;
  const Problem& problem;
  const RunConfig& config;
  const Objective& objective;
  SpectrumRecord& record;
  const GradientFlow* flow = nullptr;  // where it was asked for
  EigenResult pairs = {};              // none where size is 0
  std::string folder = {};             // for what the parts keep for a later session; empty: keep nothing
  // Shows what is being done ("3 of 10 eigenvalues converged") beside products and time left; false: stop.
  std::function<bool(const std::string& doing)> go_on = {};
  int64_t elsewhere = 0;  // products with matrices of fewer examples that this part made, as worth of A's
  std::function<int64_t()> held = {};  // bytes that the matrix's graphs and pairs take

  const EigenResult* known_pairs() const { return pairs.size > 0 ? &pairs : nullptr; }
};

// One measurement of a matrix: what it will take, and how it is made. When it was stopped (go_on said so),
// what it has put into the record so far is valid as it stands, with its errors, or absent.
struct AnalysisPart {
  std::string name;      // in `finished`
  int64_t products = 0;  // with the matrix, as expected
  int64_t vectors = 0;   // of R^n held at once, their rows dealt out to the processes, beside the pairs
  std::function<void(MatrixInHand&)> measure;
  // Where the part came to its end in an earlier session: brings back what later parts start from, the record
  // being there. False where that is lost, and the part is made again. None: nothing to bring back.
  std::function<bool(MatrixInHand&)> restore = {};
  int64_t evaluations = 0;    // of the objective over all the data, a gradient counting three
  int64_t whole_vectors = 0;  // as `vectors`, which every process holds whole
};

// Makers of parts: nothing where the configuration does not ask for one. They write the defaults they choose
// back into `config`.
using PartMaker = std::optional<AnalysisPart> (*)(const Problem&, const MatrixKind&, RunConfig&);

std::optional<AnalysisPart> eigenvalue_part(const Problem&, const MatrixKind&, RunConfig&);
std::optional<AnalysisPart> trace_part(const Problem&, const MatrixKind&, RunConfig&);
std::optional<AnalysisPart> rank_part(const Problem&, const MatrixKind&, RunConfig&);
std::optional<AnalysisPart> layer_rank_part(const Problem&, const MatrixKind&, RunConfig&);
std::optional<AnalysisPart> density_part(const Problem&, const MatrixKind&, RunConfig&);
std::optional<AnalysisPart> sparsity_part(const Problem&, const MatrixKind&, RunConfig&);
std::optional<AnalysisPart> low_rank_part(const Problem&, const MatrixKind&, RunConfig&);
// For the verdict on the gradient's flow: of the first matrix that models the objective, where sparsity does
// not give the norms.
std::optional<AnalysisPart> layer_norm_part(const Problem&, const MatrixKind&, RunConfig&);
std::optional<AnalysisPart> alignment_part(const Problem&, const MatrixKind&, RunConfig&);
std::optional<AnalysisPart> slices_part(const Problem&, const MatrixKind&, RunConfig&);
std::optional<AnalysisPart> sampling_error_part(const Problem&, const MatrixKind&, RunConfig&);

// Those asked for, in the order in which they are measured.
std::vector<AnalysisPart> analysis_parts(const Problem& problem, const MatrixKind& kind, RunConfig& config);

// Norms of the layers' own blocks that the record has, by whatever part.
std::vector<LayerCurvature> layer_curvature(const SpectrumRecord& record);

// Files of pairs kept for a later session.
void discard_kept_pairs(const std::string& folder);

// Of one end of a spectrum.
std::vector<EigenvalueRecord> records_of(const std::vector<Eigenvalue>& found, double pairing_bound);

int64_t bytes_per_vector(const Problem& problem);
int64_t bytes_of_rows(const Problem& problem);  // of a vector's rows that one process holds
int64_t dealt_out(int64_t count);               // of so many vectors, as many as one process's rows amount to
int64_t pairs_wanted(const RunConfig& config);  // at both ends together; 0: none
int64_t eigensolver_products(int64_t pairs);    // as expected where the matrix is not formed

}  // namespace osculant
