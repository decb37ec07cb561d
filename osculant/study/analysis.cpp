#include "osculant/study/analysis.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "osculant/base/error.h"
#include "osculant/base/interrupt.h"
#include "osculant/base/memory.h"
#include "osculant/base/stopwatch.h"
#include "osculant/base/text.h"
#include "osculant/curvature/curvature.h"
#include "osculant/curvature/rank_bound.h"
#include "osculant/diagnose/gradient_flow.h"
#include "osculant/objective/plan.h"
#include "osculant/spectrum/eigenpairs.h"
#include "osculant/spectrum/trace.h"
#include "osculant/study/spread.h"

namespace osculant {
namespace {

constexpr int64_t default_batch_size = 1024;
constexpr int64_t default_trace_probes = 100;
// Up to this many parameters the whole matrix is formed: for some more products nothing can have been missed,
// and the trace is exact.
constexpr int64_t dense_limit = 500;

struct Settings {
  int64_t eigenvalues, trace_probes, batch_size;
  double tolerance;
  bool hessian, gauss_newton;
  SpreadSettings spread;
};

Settings settings_of(const Problem& problem, const RunConfig& config) {
  const AnalyzeConfig& a = config.analyze;
  auto wants = [&](const char* name) {
    return std::find(a.matrix.begin(), a.matrix.end(), name) != a.matrix.end();
  };
  return {*a.eigenvalues,
          *a.trace_probes,
          resolve_batch_size(a.batch_size, problem.train.size()),
          *a.tolerance,
          wants("hessian"),
          wants("gauss_newton"),
          spread_settings(config, dense_limit, problem.memory_budget / 2)};
}

void fill_defaults(const Problem& problem, RunConfig& config) {
  AnalyzeConfig& a = config.analyze;
  a.eigenvalues = a.eigenvalues.value_or(10);
  a.tolerance = a.tolerance.value_or(EigenOptions{}.tolerance);
  int64_t n = problem.model.parameters();
  a.trace_probes =
      a.trace_probes.value_or(n <= dense_limit ? std::max(n, default_trace_probes) : default_trace_probes);
  fill_spread_defaults(a);
  if (a.matrix.empty()) a.matrix = {"hessian"};
  int64_t required = problem.model.required_batch_size();
  if (a.batch_size.empty()) a.batch_size = std::to_string(required > 0 ? required : default_batch_size);
  if (a.batch_size != "full")
    a.batch_size = std::to_string(resolve_batch_size(a.batch_size, problem.train.size()));
}

int64_t pairs_wanted(const Settings& settings) {
  return 2 * settings.eigenvalues;
}

int64_t bytes_per_vector(const Problem& problem) {
  return problem.model.parameters() *
         static_cast<int64_t>(problem.model.layout().options().dtype().itemsize());
}

// The Krylov basis: as large as the eigensolver likes, within half of the memory budget and no smaller than
// it can work with.
int64_t krylov_dimension(const Problem& problem, const Settings& settings) {
  int64_t n = problem.model.parameters(), wanted = pairs_wanted(settings);
  int64_t affordable = problem.memory_budget / 2 / bytes_per_vector(problem);
  int64_t least = wanted + 20;
  return std::min(n, std::max(least, std::min(affordable, std::max<int64_t>(100, 15 * wanted))));
}

EigenOptions eigen_options(const Problem& problem, const RunConfig& config) {
  Settings settings = settings_of(problem, config);
  EigenOptions options;
  options.count = settings.eigenvalues;
  options.target = EigenTarget::both;
  options.dense_limit = dense_limit;
  options.tolerance = settings.tolerance;
  options.seed = static_cast<uint64_t>(*config.run.seed);
  options.krylov_dimension = krylov_dimension(problem, settings);
  return options;
}

// What the eigensolver usually takes: about 6 products for each pair beside 60 to begin with, half as many
// again for the search for pairs that were missed, and one each to verify. All n where the matrix is formed.
int64_t expected_eigen_products(const Problem& problem, const Settings& settings) {
  int64_t n = problem.model.parameters(), wanted = pairs_wanted(settings);
  if (wanted == 0) return 0;
  if (n <= dense_limit || n <= 4 * wanted) return n;
  return 90 + 10 * wanted;
}

int64_t expected_products(const Problem& problem, const Settings& settings) {
  return expected_eigen_products(problem, settings) +
         std::min(settings.trace_probes, problem.model.parameters()) +
         settings.spread.products(problem.model.parameters());
}

PlannedWork planned_work(const Problem& problem, const Settings& settings, bool hessian) {
  int64_t products = expected_products(problem, settings);
  PlannedWork work;
  work.needs = {.gradient = true, .hessian = hessian, .gauss_newton = !hessian};
  (hessian ? work.hessian_products : work.gauss_newton_products) = products;
  // The larger of the bases, the pairs found, and a product with its block on the way.
  int64_t basis = settings.eigenvalues > 0 ? krylov_dimension(problem, settings) : 0;
  basis = std::max(basis, std::min(settings.spread.vectors(), problem.model.parameters() + 1));
  work.vectors = basis + 2 * pairs_wanted(settings) + 8;
  return work;
}

std::string words_of(const Settings& settings, const Problem& problem) {
  int64_t matrices = settings.hessian + settings.gauss_newton;
  int64_t products = matrices * expected_products(problem, settings);
  return fmt::format("about {} products with {}, {} examples at a time", format_count(products),
                     settings.hessian
                         ? (settings.gauss_newton ? "the Hessian and the Gauss-Newton matrix" : "the Hessian")
                         : "the Gauss-Newton matrix",
                     format_count(settings.batch_size));
}

// Refuses what does not fit, with the flags that would make it fit.
void require_fit(const Plan& plan, const Problem& problem, const Settings& settings) {
  if (plan.fits()) return;
  std::vector<std::string> remedies;
  // A pair takes two vectors of the smallest basis and four more, at both ends together (planned_work).
  int64_t vectors = (plan.budget - plan.working_bytes) / bytes_per_vector(problem);
  int64_t pairs = (vectors - 28) / 6;
  if (pairs > 0 && pairs < settings.eigenvalues) remedies.push_back(fmt::format("--eigenvalues {}", pairs));
  if (plan.working_bytes > plan.budget / 2) remedies.push_back("a smaller --batch-size");
  remedies.push_back(fmt::format("--memory-budget {}", plan.minimum_bytes()));
  fail(
      ErrorKind::memory,
      fmt::format(
          "the analysis needs at least {} ({} for vectors, {} to work on {} examples), and run.memory_budget "
          "is {}; what would fit: {}",
          format_bytes(plan.minimum_bytes()), format_bytes(plan.vector_bytes),
          format_bytes(plan.working_bytes), format_count(plan.batch_size), format_bytes(plan.budget),
          fmt::join(remedies, ", or ")));
}

// One matrix after the other: their costs add up, their memory does not.
void add_plan(PlanRecord& sum, const Plan& one) {
  sum.gradient_equivalents += one.gradient_equivalents;
  sum.seconds += one.seconds;
  sum.bytes = std::max(sum.bytes, one.peak_bytes());
  sum.budget = one.budget;
}

TraceRecord record_of(const TraceResult& trace) {
  return {trace.value, trace.low, trace.high, trace.probes, trace.exact};
}

SpectrumRecord record_of(const EigenResult& eigen) {
  SpectrumRecord record;
  auto pairs = [&](const std::vector<Eigenvalue>& found) {
    std::vector<EigenvalueRecord> list;
    for (const auto& pair : found)
      list.push_back({pair.value, std::max(pair.residual, eigen.pairing_bound), pair.residual});
    return list;
  };
  record.largest = pairs(eigen.largest());
  record.smallest = pairs(eigen.smallest());
  record.stop = eigen.message;
  record.converged = eigen.converged();
  record.tolerance = eigen.tolerance;
  record.miss_probability = std::max(eigen.extreme_failure_probability, eigen.missed_failure_probability);
  if (eigen.stop == EigenStop::exact) record.miss_probability = 0;
  return record;
}

std::string progress_text(const std::string& matrix, const EigenProgress& progress) {
  if (progress.checking)
    return fmt::format("{}: product {}, looking for missed eigenvalues", matrix, progress.products);
  return fmt::format("{}: product {}, {} of {} eigenvalues converged", matrix, progress.products,
                     progress.converged, progress.wanted);
}

SpectrumRecord analyze_matrix(const LinearOperator& A, const std::string& matrix, const Problem& problem,
                              const RunConfig& config, int64_t rank_bound, const ShowProgress& show) {
  Settings settings = settings_of(problem, config);
  SpectrumRecord record;
  EigenResult eigen;
  if (settings.eigenvalues > 0) {
    EigenOptions options = eigen_options(problem, config);
    options.progress = [&](const EigenProgress& progress) {
      show(progress_text(matrix, progress));
      return interrupt_signal() == 0;
    };
    eigen = eigenpairs(A, options);
    record = record_of(eigen);
  }
  if (interrupt_signal() == 0 && settings.trace_probes > 0) {
    TraceOptions options;
    options.products = settings.trace_probes;
    options.seed = static_cast<uint64_t>(*config.run.seed);
    options.progress = [&](int64_t products) {
      show(fmt::format("{}: product {} of {} for the trace", matrix, products, settings.trace_probes));
      return interrupt_signal() == 0;
    };
    record.trace = record_of(trace(A, options));
  }
  if (interrupt_signal() == 0 && settings.spread.any()) {
    SpreadSettings spread = settings.spread;
    spread.sample.progress = [&](int64_t products) {
      show(fmt::format("{}: product {} for rank and density", matrix, products));
      return interrupt_signal() == 0;
    };
    measure_spread(A, spread, settings.eigenvalues > 0 ? &eigen : nullptr, rank_bound, record);
  }
  record.products = A.products();
  return record;
}

// Measured on the first batch: the seconds of all, and the bytes, which may not exceed the budget.
void add_gradient_flow(PlanRecord& sum, const Problem& problem, const Objective& objective) {
  double charged = objective.ledger().gradient_equivalents();
  MemoryMeter meter;
  Stopwatch watch;
  gradient_flow(objective, {.batches = 1});
  sum.seconds += watch.seconds() * static_cast<double>(objective.batches());
  sum.gradient_equivalents += Price::gradient + objective.ledger().gradient_equivalents() - charged;
  sum.bytes = std::max(sum.bytes, meter.peak());
  sum.budget = problem.memory_budget;
  sum.words += ", and the flow of gradients";
  if (meter.peak() > problem.memory_budget)
    fail(ErrorKind::memory,
         fmt::format(
             "the flow of gradients needs {} to work on {} examples, and run.memory_budget is {}; what "
             "would fit: --memory-budget {}, or a smaller --batch-size",
             format_bytes(meter.peak()), format_count(objective.terms().front().data.batch_size()),
             format_bytes(problem.memory_budget), meter.peak()));
}

}  // namespace

PlanRecord plan_analysis(const Problem& problem, RunConfig& config) {
  fill_defaults(problem, config);
  Settings settings = settings_of(problem, config);
  PlanRecord record;
  record.words = words_of(settings, problem);
  Objective objective = problem.objective(settings.batch_size);
  for (bool hessian : {true, false}) {
    if (!(hessian ? settings.hessian : settings.gauss_newton)) continue;
    Plan planned = plan(objective, planned_work(problem, settings, hessian));
    require_fit(planned, problem, settings);
    add_plan(record, planned);
  }
  if (config.analyze.gradient_flow.value_or(false)) add_gradient_flow(record, problem, objective);
  return record;
}

Result analyze(const Problem& problem, const RunConfig& config, const ShowProgress& progress) {
  Stopwatch watch;
  Settings settings = settings_of(problem, config);
  Result result = begin_result("analyze", problem);
  Objective objective = problem.objective(settings.batch_size);
  result.objective = measure_objective(objective);
  if (config.analyze.gradient_flow.value_or(false)) result.gradient_flow = gradient_flow(objective);
  for (const std::string& matrix : config.analyze.matrix) {
    if (interrupt_signal() != 0) break;
    bool hessian = matrix == "hessian";
    // What vectors take is not left for kept graphs.
    int64_t vectors = planned_work(problem, settings, hessian).vectors * bytes_per_vector(problem);
    objective.set_memory_budget(std::max<int64_t>(problem.memory_budget - vectors, 0));
    std::unique_ptr<LinearOperator> A;
    if (hessian)
      A = std::make_unique<Hessian>(objective);
    else
      A = std::make_unique<GaussNewton>(objective);
    int64_t bound = settings.spread.rank && !hessian ? gauss_newton_rank_bound(objective) : -1;
    result.spectrum.emplace_back(matrix, analyze_matrix(*A, matrix, problem, config, bound, progress));
  }
  if (interrupt_signal() != 0) result.status = "interrupted";
  result.cost = {objective.ledger().gradient_equivalents(), watch.seconds(), peak_resident_memory()};
  return result;
}

}  // namespace osculant
