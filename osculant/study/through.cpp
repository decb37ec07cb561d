#include "osculant/study/through.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "osculant/base/error.h"
#include "osculant/base/interrupt.h"
#include "osculant/base/memory.h"
#include "osculant/base/stopwatch.h"
#include "osculant/base/text.h"
#include "osculant/comm/communicator.h"
#include "osculant/diagnose/gradient_flow.h"
#include "osculant/linop/by_rows.h"
#include "osculant/objective/plan.h"
#include "osculant/spectrum/eigenpairs.h"
#include "osculant/spectrum/norms.h"
#include "osculant/spectrum/rank.h"
#include "osculant/study/analysis_part.h"
#include "osculant/study/checkpoint_files.h"
#include "osculant/study/stability_limit.h"

namespace osculant {
namespace {

namespace fs = std::filesystem;

constexpr int64_t default_pairs = 3, norm_probes = 10;
constexpr double at_the_edge = 0.2;  // within this share of the limit

// Of a training run's folder, or of the checkpoints' own; by step.
std::vector<fs::path> checkpoints_of(const RunConfig& config) {
  const std::string& folder = config.analyze.through;
  auto found = checkpoints_in(folder + "/checkpoints");
  if (found.empty()) found = checkpoints_in(folder);
  if (found.empty())
    fail_data(
        fmt::format("{} = \"{}\": there are no checkpoints (step-N.safetensors); a training leaves them with "
                    "train.checkpoint_every and train.keep_checkpoints",
                    config.origin("analyze.through"), folder));
  std::reverse(found.begin(), found.end());
  return found;
}

// What is known of the training's stability.
void find_limit(ThroughRecord& through) {
  std::string file = through.folder + "/run.toml";
  if (!fs::exists(file)) {
    through.limit_words = "the training's run file is not beside its checkpoints, so its step is unknown";
    return;
  }
  RunConfig training;
  training.read_file(file);
  StabilityLimit limit = stability_limit(training.train);
  through.stability_limit = limit.curvature;
  through.limit_words = limit.words;
  if (std::isnan(limit.curvature)) return;
  if (training.train.batch_size != "full")
    through.limit_words +=
        fmt::format("; with batches of {} noise keeps curvature below it", training.train.batch_size);
}

EigenOptions eigen_options(const RunConfig& config) {
  EigenOptions options{
      .count = *config.analyze.eigenvalues, .target = EigenTarget::both, .seed = config.seed()};
  options.dense_limit = analysis_dense_limit;
  options.tolerance = config.analyze.tolerance.value_or(options.tolerance);
  options.check_products = config.analyze.check_products.value_or(options.check_products);
  return options;
}

class Through {
 public:
  Through(const Problem& problem, const RunConfig& config, const ShowProgress& show)
      : problem_(problem), config_(config), kind_(find_matrix(config.analyze.matrix.front())), show_(show) {}

  ThroughRecord::Point measure(int64_t step, const std::string& where) {
    Objective objective =
        problem_.objective(resolve_batch_size(config_.analyze.batch_size, problem_.train.size()));
    ThroughRecord::Point point;
    point.step = step;
    auto [value, gradient] = objective.value_and_gradient();
    point.loss = value;
    point.gradient_norm = gradient.norm().item<double>();
    point.flow = name_of(gradient_flow(objective).verdict);
    OperatorPtr A = by_rows(kind_.make(objective, config_), objective.communicator());
    EigenOptions options = eigen_options(config_);
    options.start = start_;
    options.progress = [&](const EigenProgress& progress) {
      show_(fmt::format("{}: {} of {} eigenvalues, product {}", where, progress.converged, progress.wanted,
                        A->products()));
      return interrupt_signal() == 0;
    };
    EigenResult pairs = eigenpairs(*A, options);
    point.largest = records_of(pairs.largest(), pairs.pairing_bound);
    point.smallest = records_of(pairs.smallest(), pairs.pairing_bound);
    point.miss_probability = pairs.miss_probability();
    point.pairing_failure_probability = pairs.pairing_failure_probability;
    Measured norm = frobenius_norm(*A, {.probes = norm_probes, .seed = config_.seed()}, &pairs);
    point.stable_rank = record_of(stable_rank(norm, spectral_norm(pairs)));
    start_ = pairs.vectors;
    point.products = A->products();
    spent_ += objective.ledger().gradient_equivalents();
    return point;
  }

  double gradient_equivalents() const { return spent_; }

 private:
  const Problem& problem_;
  const RunConfig& config_;
  const MatrixKind& kind_;
  const ShowProgress& show_;
  Tensor start_;
  double spent_ = 0;
};

}  // namespace

PlanRecord plan_through(const Problem& problem, RunConfig& config) {
  AnalyzeConfig& a = config.analyze;
  if (a.matrix.empty()) a.matrix = {"hessian"};
  if (a.matrix.size() > 1)
    fail_usage(config.origin("analyze.matrix") + ": --through follows one matrix at a time");
  a.eigenvalues = a.eigenvalues.value_or(default_pairs);
  if (a.batch_size.empty()) a.batch_size = std::to_string(std::min<int64_t>(problem.train.size(), 1024));
  auto checkpoints = static_cast<int64_t>(checkpoints_of(config).size());
  const MatrixKind& kind = find_matrix(a.matrix.front());
  int64_t wanted = pairs_wanted(config), products = eigensolver_products(wanted) + norm_probes;
  PlannedWork work{.needs = kind.needs,
                   .evaluations = 6,
                   .vectors = dealt_out(15 * wanted) + (world_communicator().alone() ? 0 : 2)};
  (kind.needs.hessian ? work.hessian_products : work.gauss_newton_products) = products;
  Plan one = plan(problem.objective(resolve_batch_size(a.batch_size, problem.train.size())), work);
  one.require_fit();
  PlanRecord record;
  record.gradient_equivalents = one.gradient_equivalents * static_cast<double>(checkpoints);
  record.seconds = one.seconds * static_cast<double>(checkpoints);
  record.bytes = one.peak_bytes();
  record.budget = one.budget;
  record.words =
      fmt::format("{} checkpoints, about {} products with the {} at each, fewer where little has moved",
                  checkpoints, products, kind.title);
  return record;
}

std::string stability_words(const ThroughRecord& through) {
  if (through.points.empty()) return "No checkpoint was measured.";
  auto sharpness = [](const ThroughRecord::Point& p) {
    return p.largest.empty() ? std::nan("") : p.largest[0].value;
  };
  std::string out =
      fmt::format("The largest eigenvalue goes from {} at step {} to {} at step {}.",
                  format_number(sharpness(through.points.front())), format_count(through.points.front().step),
                  format_number(sharpness(through.points.back())), format_count(through.points.back().step));
  double limit = through.stability_limit;
  if (std::isnan(limit))
    return out + " Whether that is the edge of stability is unknown: " + through.limit_words + ".";
  std::vector<int64_t> edge, beyond;
  for (const auto& point : through.points) {
    double ratio = sharpness(point) / limit;
    if (ratio > 1 + at_the_edge) beyond.push_back(point.step);
    if (std::abs(ratio - 1) <= at_the_edge) edge.push_back(point.step);
  }
  if (!edge.empty())
    out += fmt::format(
        " Edge of stability: it is within {:.0f} % of {} ({}) at {} of {} checkpoints, steps {} to {}.",
        100 * at_the_edge, format_number(limit), through.limit_words, edge.size(), through.points.size(),
        format_count(edge.front()), format_count(edge.back()));
  if (!beyond.empty())
    out +=
        fmt::format(" At {} of {} checkpoints, the first at step {}, it is beyond {} ({}): steps grow there.",
                    beyond.size(), through.points.size(), format_count(beyond.front()), format_number(limit),
                    through.limit_words);
  if (edge.empty() && beyond.empty())
    out += fmt::format(" That stays below {} ({}): a larger step would be stable.", format_number(limit),
                       through.limit_words);
  return out;
}

namespace {

std::string certainty_words(const ThroughRecord& through) {
  double pairing = 0, missed = 0;
  for (const auto& point : through.points) {
    pairing = std::max(pairing, point.pairing_failure_probability);
    missed = std::max(missed, point.miss_probability);
  }
  return fmt::format(
      "At a checkpoint the bounds fail to hold with probability at most {}, and one further out was "
      "missed with probability {}.",
      format_number(pairing), missed < 1 ? "at most " + format_number(missed) : "unknown");
}

}  // namespace

Result analyze_through(const Problem& problem, const RunConfig& config, const ResultDirectory& folder,
                       const ShowProgress& show) {
  Stopwatch watch;
  Result result = begin_result("analyze", problem);
  ThroughRecord& through = result.through.emplace();
  through.folder = config.analyze.through;
  through.matrix = config.analyze.matrix.front();
  find_limit(through);
  ParameterSnapshot before = problem.model.layout().snapshot();
  Through measure(problem, config, show);
  auto checkpoints = checkpoints_of(config);
  for (size_t i = 0; i < checkpoints.size() && interrupt_signal() == 0; ++i) {
    problem.model.layout().assign(checkpoint_theta(checkpoints[i], problem.model));
    int64_t step = step_of(checkpoints[i]);
    auto point =
        measure.measure(step, fmt::format("checkpoint {} of {}, step {}", i + 1, checkpoints.size(), step));
    if (interrupt_signal() != 0) break;
    through.points.push_back(std::move(point));
    result.status = "interrupted";
    through.words = stability_words(through) + " " + certainty_words(through);
    folder.write("result.json", to_json(result));
  }
  problem.model.layout().restore(before);
  through.words = stability_words(through) + " " + certainty_words(through);
  result.status = interrupt_signal() != 0 ? "interrupted" : "done";
  result.cost = {measure.gradient_equivalents(), watch.seconds(), peak_resident_memory()};
  return result;
}

std::string to_text(const ThroughRecord& through) {
  TextTable table(
      {"step", "loss", "gradient norm", "largest", "smallest", "stable rank", "gradient flow", "products"});
  auto first = [](const std::vector<EigenvalueRecord>& list) {
    return list.empty()
               ? std::string("unknown")
               : fmt::format("{} +- {}", format_number(list[0].value), format_number(list[0].residual));
  };
  for (const auto& p : through.points)
    table.add({format_count(p.step), format_number(p.loss), format_number(p.gradient_norm), first(p.largest),
               first(p.smallest), words_of(p.stable_rank), p.flow, format_count(p.products)});
  return fmt::format("\nThrough {}, {}\n{}  {}\n", through.folder, through.matrix, table.str(),
                     through.words);
}

}  // namespace osculant
