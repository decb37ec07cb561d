#include "osculant/study/analysis.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "osculant/base/error.h"
#include "osculant/base/interrupt.h"
#include "osculant/base/memory.h"
#include "osculant/base/stopwatch.h"
#include "osculant/base/text.h"
#include "osculant/comm/communicator.h"
#include "osculant/diagnose/gradient_flow.h"
#include "osculant/diagnose/sampling_error.h"
#include "osculant/linop/by_rows.h"
#include "osculant/model/consistency.h"
#include "osculant/objective/plan.h"
#include "osculant/spectrum/low_rank_curve.h"
#include "osculant/study/analysis_part.h"
#include "osculant/study/same_run.h"
#include "osculant/study/spectrum_fields.h"

namespace osculant {
namespace {

constexpr int64_t default_batch_size = 1024;

// All that can be measured and is not set otherwise.
void fill_full(const Problem& problem, AnalyzeConfig& a) {
  for (auto* wanted : {&a.rank, &a.density, &a.sparsity, &a.gradient_flow}) *wanted = wanted->value_or(true);
  a.low_rank = a.low_rank.value_or(LowRankCurveOptions{}.count);
  bool pairs = a.eigenvalues.value_or(1) > 0;
  a.alignment = a.alignment.value_or(pairs);
  a.slices = a.slices.value_or(pairs ? 1 : 0);
  a.sampling_error = a.sampling_error.value_or(has_parts(problem.objective(problem.train.size())));
}

void fill_defaults(const Problem& problem, RunConfig& config) {
  AnalyzeConfig& a = config.analyze;
  if (a.matrix.empty()) a.matrix = {"hessian"};
  if (a.full.value_or(false)) fill_full(problem, a);
  if (std::find(a.matrix.begin(), a.matrix.end(), "sampled_fisher") != a.matrix.end())
    a.fisher_draws = a.fisher_draws.value_or(1);
  int64_t required = problem.model.required_batch_size();
  if (a.batch_size.empty()) a.batch_size = std::to_string(required > 0 ? required : default_batch_size);
  if (a.batch_size != "full")
    a.batch_size = std::to_string(resolve_batch_size(a.batch_size, problem.train.size()));
}

Objective objective_of(const Problem& problem, const RunConfig& config) {
  return problem.objective(resolve_batch_size(config.analyze.batch_size, problem.train.size()));
}

int64_t products_of(const std::vector<AnalysisPart>& parts) {
  int64_t products = 0;
  for (const auto& part : parts) products += part.products;
  return products;
}

PlannedWork planned_work(const RunConfig& config, const MatrixKind& kind,
                         const std::vector<AnalysisPart>& parts) {
  PlannedWork work;
  work.needs = kind.needs;
  if (kind.needs.hessian) work.hessian_products = products_of(parts);
  if (kind.needs.gauss_newton) work.gauss_newton_products = products_of(parts);
  for (const auto& part : parts) work.evaluations += part.evaluations;
  // The largest of the bases, the pairs found, and a product with its block on the way, which several
  // processes gather first.
  for (const auto& part : parts)
    work.vectors = std::max(work.vectors, part.whole_vectors + dealt_out(part.vectors));
  work.vectors += dealt_out(2 * pairs_wanted(config)) + (world_communicator().alone() ? 8 : 16);
  return work;
}

// Refuses what does not fit, with the flags that would make it fit.
void require_fit(const Plan& plan, const Problem& problem, const RunConfig& config) {
  if (plan.fits()) return;
  std::vector<std::string> remedies;
  // A pair takes two vectors of the smallest basis and four more, at both ends together (planned_work).
  int64_t vectors =
      (plan.budget - plan.working_bytes - 8 * bytes_per_vector(problem)) / bytes_of_rows(problem);
  int64_t pairs = (vectors - 20) / 6;
  if (pairs > 0 && pairs < config.analyze.eigenvalues)
    remedies.push_back(fmt::format("--eigenvalues {}", pairs));
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

// The matrices' titles in a row: "the Hessian and the Gauss-Newton matrix".
std::string titles_of(const std::vector<std::string>& matrices) {
  std::string out;
  for (size_t i = 0; i < matrices.size(); ++i)
    out += (i == 0                    ? "the "
            : i + 1 < matrices.size() ? ", the "
                                      : " and the ") +
           find_matrix(matrices[i]).title;
  return out;
}

// Refuses a network whose outputs are random: its objective has no curvature. Says where examples depend on
// each other.
void require_function(const Problem& problem, const RunConfig& config, std::vector<std::string>& notes) {
  int64_t size = resolve_batch_size(config.analyze.batch_size, problem.train.size());
  Consistency found = consistency(problem.model, problem.train.range(0, size));
  if (!found.deterministic())
    fail_data(fmt::format(
        "the model gives other outputs for the same inputs the next time, {} of the largest apart: curvature "
        "is that of a function. Dropout or noise? Take it out, or export the model in evaluation mode",
        format_number(found.repeated)));
  if (!found.independent())
    notes.push_back(fmt::format(
        "the outputs of an example depend on the others in its batch (by {} of the largest), as where "
        "normalisation is in training mode; the numbers hold for these batches of {} examples",
        format_number(found.coupled), format_count(size)));
}

// What may change between an analysis and its continuation.
const std::vector<std::string> limits{"run.threads", "run.memory_budget", "run.out", "train.", "compare."};

// An analysis under way: the result, and what of it an earlier session has made.
class Analysis {
 public:
  Analysis(const Problem& problem, const RunConfig& config, const ResultDirectory* folder, bool resume,
           const ShowProgress& show)
      : problem_(problem),
        config_(config),
        folder_(folder),
        objective_(objective_of(problem, config)),
        result_(begin_result("analyze", problem)),
        progress_(show, expected_products()) {
    if (folder && resume) earlier_ = partial_analysis(folder->file("result.json"));
  }

  Result run() {
    require_function(problem_, config_, result_.notes);
    result_.objective = measure_objective(objective_);
    if (config_.analyze.gradient_flow.value_or(false)) result_.gradient_flow = gradient_flow(objective_);
    for (const std::string& name : config_.analyze.matrix) {
      result_.spectrum.emplace_back(name, SpectrumRecord{});
      analyze_matrix(find_matrix(name), result_.spectrum.back().second);
      if (result_.gradient_flow && find_matrix(name).models_objective)
        consider_curvature(*result_.gradient_flow, layer_curvature(result_.spectrum.back().second));
      if (interrupt_signal() != 0) break;
    }
    result_.status = interrupt_signal() != 0 ? "interrupted" : finite_ ? "done" : "failed";
    note_cost();
    return std::move(result_);
  }

 private:
  std::vector<AnalysisPart> parts_of(const MatrixKind& kind) {
    RunConfig config = config_;
    return analysis_parts(problem_, kind, config);
  }

  int64_t expected_products() {
    int64_t products = 0;
    for (const std::string& name : config_.analyze.matrix)
      products += products_of(parts_of(find_matrix(name)));
    return products;
  }

  // What vectors take is not left for kept graphs.
  void leave_room_for_vectors(const MatrixKind& kind, const std::vector<AnalysisPart>& parts) {
    int64_t vectors = planned_work(config_, kind, parts).vectors * bytes_per_vector(problem_);
    objective_.set_memory_budget(std::max<int64_t>(problem_.memory_budget - vectors, 0));
  }

  void take_up(const std::string& matrix, SpectrumRecord& record) const {
    for (const auto& [name, earlier] : earlier_.spectrum)
      if (name == matrix) record = earlier;
  }

  void analyze_matrix(const MatrixKind& kind, SpectrumRecord& record) {
    auto parts = parts_of(kind);
    take_up(kind.name, record);
    record.note = kind.note;
    leave_room_for_vectors(kind, parts);
    MemoryMeter meter;
    OperatorPtr whole = kind.make(objective_, config_), A = by_rows(whole, objective_.communicator());
    MatrixInHand matrix{*A, *whole, kind, problem_, config_, objective_, record};
    if (folder_) matrix.folder = folder_->path();
    if (result_.gradient_flow) matrix.flow = &*result_.gradient_flow;
    matrix.held = [&meter] { return meter.current(); };
    int64_t before = record.products;
    for (const auto& part : parts) {
      bool finished =
          std::find(record.finished.begin(), record.finished.end(), part.name) != record.finished.end();
      if (finished && (!part.restore || part.restore(matrix))) {
        progress_.skip(part.products);
        continue;
      }
      progress_.begin(part.products);
      matrix.elsewhere = 0;
      int64_t start = whole->products();
      matrix.go_on = [&](const std::string& doing) {
        progress_.show(kind.title, whole->products() - start + matrix.elsewhere, doing);
        return interrupt_signal() == 0;
      };
      part.measure(matrix);
      finite_ = finite_ && matrix.pairs.stop != EigenStop::non_finite;
      record.products = before + whole->products();
      if (interrupt_signal() != 0) return;
      if (!finished) record.finished.push_back(part.name);
      save();
    }
  }

  void note_cost() {
    result_.cost = {earlier_.gradient_equivalents + objective_.ledger().gradient_equivalents(),
                    earlier_.seconds + watch_.seconds(), peak_resident_memory()};
  }

  // All that is known so far, should the process not live to say more.
  void save() {
    if (!folder_) return;
    result_.status = "interrupted";
    note_cost();
    folder_->write("result.json", to_json(result_));
  }

  const Problem& problem_;
  const RunConfig& config_;
  const ResultDirectory* folder_;  // null: keep nothing
  Stopwatch watch_;
  Objective objective_;
  Result result_;
  PartialAnalysis earlier_;
  bool finite_ = true;  // every product so far
  AnalysisProgress progress_;
};

}  // namespace

PlanRecord plan_analysis(const Problem& problem, RunConfig& config) {
  fill_defaults(problem, config);
  std::vector<std::string> notes;
  require_function(problem, config, notes);
  PlanRecord record;
  Objective objective = objective_of(problem, config);
  int64_t products = 0;
  for (const std::string& name : config.analyze.matrix) {
    const MatrixKind& kind = find_matrix(name);
    if (kind.check) kind.check(objective);
    auto parts = analysis_parts(problem, kind, config);
    products += products_of(parts);
    Plan planned = plan(objective, planned_work(config, kind, parts));
    require_fit(planned, problem, config);
    add_plan(record, planned);
  }
  record.words = fmt::format("about {} products with {}, {} examples at a time", format_count(products),
                             titles_of(config.analyze.matrix),
                             format_count(objective.terms().front().data.batch_size()));
  if (config.analyze.gradient_flow.value_or(false)) add_gradient_flow(record, problem, objective);
  return record;
}

void require_same_analysis(const std::string& folder, const RunConfig& config) {
  require_same_run(folder, config, limits);
}

Result analyze(const Problem& problem, const RunConfig& config, const ResultDirectory& folder, bool resume,
               const ShowProgress& progress) {
  Result result = Analysis(problem, config, &folder, resume, progress).run();
  if (result.status == "done" && !config.analyze.keep_eigenpairs.value_or(false))
    discard_kept_pairs(folder.path());
  return result;
}

Result analyze(const Problem& problem, const RunConfig& config, const ShowProgress& progress) {
  return Analysis(problem, config, nullptr, false, progress).run();
}

}  // namespace osculant
