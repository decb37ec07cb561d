#include "osculant/study/comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "osculant/base/error.h"
#include "osculant/base/interrupt.h"
#include "osculant/base/memory.h"
#include "osculant/base/stopwatch.h"
#include "osculant/base/text.h"
#include "osculant/study/contestant_log.h"
#include "osculant/study/contestants.h"
#include "osculant/study/same_run.h"
#include "osculant/study/training_setup.h"
#include "osculant/study/tuning.h"
#include "osculant/study/verdict.h"

namespace osculant {
namespace {

// What may change between a comparison and its continuation.
const std::vector<std::string> free_keys{"train.method",
                                         "train.options",
                                         "train.checkpoint_every",
                                         "train.watch",
                                         "train.keep_checkpoints",
                                         "run.threads",
                                         "run.memory_budget",
                                         "run.out",
                                         "model.mode",
                                         "analyze."};

void fill_defaults(const Problem& problem, RunConfig& config, const Entry& entry) {
  config.compare.seeds = config.compare.seeds.value_or(3);
  config.compare.tune = config.compare.tune.value_or(5);
  config.compare.tuning_share = config.compare.tuning_share.value_or(0.25);
  RunConfig own = training_config(config, entry, entry.options, *config.run.seed);
  own.train.batch_size = config.train.batch_size;
  fill_training_defaults(problem, own);
  config.train.batch_size = own.train.batch_size;
}

// One trial tells nothing.
std::vector<double> values_to_try(const Entry& entry, const RunConfig& config) {
  auto values = tuning_values(find_method(entry.method), entry.options, *config.compare.tune);
  return values.size() < 2 ? std::vector<double>{} : values;
}

Budget share_of(Budget budget, double share) {
  budget.amount *= share;
  return budget;
}

std::map<std::string, double> values_of(const std::vector<Metric>& metrics) {
  std::map<std::string, double> values;
  for (const auto& metric : metrics) values[metric.name] = metric.value;
  return values;
}

ContestantRecord::Point point_of(const Evaluation& evaluation) {
  return {evaluation.step, evaluation.epochs, evaluation.seconds, evaluation.gradient_equivalents,
          values_of(evaluation.metrics)};
}

std::string status_of(const Summary& summary) {
  if (summary.reason == StopReason::interrupted) return "interrupted";
  if (summary.reason == StopReason::numerical_failure) return "failed";
  if (!summary.reached) return "done";
  return *summary.reached ? "reached" : "missed";
}

ContestantRecord record_of(const RaceResult& result, const std::string& method, int64_t seed,
                           const OptionMap& options, bool target) {
  ContestantRecord record;
  record.method = method;
  record.seed = seed;
  record.options = options;
  for (const auto& evaluation : result.trajectory) record.trajectory.push_back(point_of(evaluation));
  if (!result.summary) {
    record.status = "failed";
    record.stop = {"failure", result.failure};
    if (target) record.reached = false;
    return record;
  }
  const Summary& summary = *result.summary;
  record.status = status_of(summary);
  record.stop = {to_string(summary.reason), summary.message};
  record.reached = summary.reached;
  record.steps = summary.steps;
  record.epochs = summary.epochs;
  record.seconds = summary.seconds;
  record.gradient_equivalents = summary.gradient_equivalents;
  record.final = values_of(summary.final_metrics);
  return record;
}

class Comparison {
 public:
  Comparison(const Problem& problem, const RunConfig& config, const std::string& log, bool resume,
             const ShowComparison& show)
      : problem_(problem), config_(config), entries_(read_entries(config)), log_(log, resume), show_(show) {
    record_.budget = config.train.budget;
    record_.metric = "loss";
    if (!config.train.target.empty()) {
      Target target = Target::parse(config.train.target);
      record_.target = target.str();
      record_.metric = target.metric();
      record_.higher_is_better = target.higher_is_better();
    }
    record_.seeds = *config.compare.seeds;
    record_.tune = *config.compare.tune;
    record_.tuning_share = *config.compare.tuning_share;
  }

  ComparisonRecord run() {
    for (const auto& entry : entries_) options_[entry.label] = entry.options;
    tune();
    for (int64_t i = 0; i < record_.seeds && interrupt_signal() == 0; ++i) {
      std::vector<Task> tasks;
      for (const auto& entry : entries_)
        tasks.push_back({&entry, options_[entry.label], *config_.run.seed + i});
      auto runs =
          round(fmt::format("seed {} of {}", i + 1, record_.seeds), fmt::format("seed {}", i), tasks, 1);
      record_.runs.insert(record_.runs.end(), runs.begin(), runs.end());
    }
    judge(record_, tuned_);
    return record_;
  }

 private:
  struct Task {
    const Entry* entry;
    OptionMap options;
    int64_t seed;
  };

  void tune() {
    std::map<std::string, std::vector<double>> values;
    std::map<std::string, std::vector<ContestantRecord>> trials;
    for (const auto& entry : entries_) values[entry.label] = values_to_try(entry, config_);
    for (int64_t t = 0; t < record_.tune && interrupt_signal() == 0; ++t) {
      std::vector<Task> tasks;
      for (const auto& entry : entries_) {
        const auto& mine = values[entry.label];
        if (t >= static_cast<int64_t>(mine.size())) continue;
        OptionMap options = entry.options;
        options[find_method(entry.method).tuned] = mine[static_cast<size_t>(t)];
        tasks.push_back({&entry, options, *config_.run.seed});
      }
      auto phase = fmt::format("tuning, trial {} of {}", t + 1, record_.tune);
      for (const auto& trial : round(phase, fmt::format("trial {}", t), tasks, record_.tuning_share)) {
        trials[trial.method].push_back(trial);
        record_.trials.push_back(trial);
      }
    }
    for (const auto& entry : entries_) follow(entry, trials[entry.label]);
  }

  void follow(const Entry& entry, const std::vector<ContestantRecord>& trials) {
    const std::string& option = find_method(entry.method).tuned;
    std::string& words = tuned_[entry.label];
    if (record_.tune < 2) {
      words = "no";
    } else if (option.empty()) {
      words = "has no tuning axis";
    } else if (entry.options.count(option) > 0) {
      words = option + " given";
    } else if (trials.empty()) {
      words = "no";
    } else {
      const auto& best = trials[best_trial(trials, record_)];
      options_[entry.label] = best.options;
      words = fmt::format("{} = {}", option, std::get<double>(best.options.at(option)));
    }
  }

  // The tasks against each other; those that are finished already are taken from the log.
  std::vector<ContestantRecord> round(const std::string& phase, const std::string& key,
                                      const std::vector<Task>& tasks, double share) {
    std::vector<ContestantRecord> records(tasks.size());
    std::vector<size_t> running;
    std::vector<std::unique_ptr<Problem>> problems;
    std::vector<Contestant> contestants;
    for (size_t i = 0; i < tasks.size(); ++i) {
      const Task& task = tasks[i];
      if (const auto* finished = log_.find(key + " " + task.entry->label)) {
        records[i] = *finished;
        continue;
      }
      RunConfig own = training_config(config_, *task.entry, task.options, task.seed);
      auto memory = problem_.memory_budget / static_cast<int64_t>(entries_.size());
      problems.push_back(std::make_unique<Problem>(with_own_model(problem_, own, memory)));
      contestants.push_back(make_contestant(*problems.back(), own, task.entry->label));
      contestants.back().options.budget = share_of(contestants.back().options.budget, share);
      running.push_back(i);
    }
    if (contestants.empty()) return records;

    auto record = [&](size_t i, const RaceResult& result) {
      const Task& task = tasks[i];
      return record_of(result, task.entry->label, task.seed, task.options, !record_.target.empty());
    };
    ComparisonStatus status{phase, contestants.front().options.budget, record_.metric, {}};
    RaceOptions options;
    options.on_turn = [&](const std::vector<Standing>& standings) {
      status.standings = standings;
      if (show_) show_(status);
    };
    options.on_end = [&](size_t i, const RaceResult& result) {
      log_.add(key + " " + tasks[running[i]].entry->label, record(running[i], result));
    };
    auto results = race(std::move(contestants), options);
    for (size_t i = 0; i < results.size(); ++i) records[running[i]] = record(running[i], results[i]);
    return records;
  }

  const Problem& problem_;
  const RunConfig& config_;
  std::vector<Entry> entries_;
  ContestantLog log_;
  const ShowComparison& show_;
  ComparisonRecord record_;
  std::map<std::string, OptionMap> options_;  // by label: to race with
  std::map<std::string, std::string> tuned_;  // by label: in words
};

std::string status_of(const ComparisonRecord& comparison) {
  if (interrupt_signal() != 0) return "interrupted";
  bool all_failed = std::all_of(comparison.runs.begin(), comparison.runs.end(),
                                [](const auto& run) { return run.status == "failed"; });
  return all_failed ? "failed" : "done";
}

}  // namespace

PlanRecord plan_comparison(const Problem& problem, RunConfig& config) {
  auto entries = read_entries(config);
  fill_defaults(problem, config, entries.front());
  if (config.train.budget.empty())
    fail_usage("train.budget is not given: a comparison needs one, --budget 60s (or 500ge)");
  Budget budget = minimize_options(problem, training_config(config, entries.front(), {}, 0)).budget;
  GradientCost gradient = measure_gradient(problem, training_objective(problem, config));
  PlanRecord plan;
  double budgets = 0;
  for (const auto& entry : entries) {
    RunConfig own = training_config(config, entry, entry.options, *config.run.seed);
    check_training(problem, own);
    auto trials = static_cast<double>(values_to_try(entry, config).size());
    budgets += trials * *config.compare.tuning_share + static_cast<double>(*config.compare.seeds);
    int64_t batch = resolve_batch_size(own.train.batch_size, problem.train.size());
    ProblemSize size = problem_size(problem, batch);
    plan.bytes += 3 * size.parameters * size.bytes_per_number + gradient.bytes +
                  static_cast<int64_t>(find_method(entry.method).memory.value(size));
  }
  bool timed = budget.unit == Budget::Unit::seconds;
  plan.gradient_equivalents = budgets * budget.amount / (timed ? gradient.seconds : 1);
  plan.seconds = budgets * budget.amount * (timed ? 1 : gradient.seconds);
  plan.budget = problem.memory_budget;
  plan.words = fmt::format("{} methods, {} tuning trials of {} and {} seeds of {} each", entries.size(),
                           *config.compare.tune, share_of(budget, *config.compare.tuning_share).str(),
                           *config.compare.seeds, budget.str());
  if (plan.bytes > plan.budget)
    fail(ErrorKind::memory,
         fmt::format("these methods need at least {} together, and run.memory_budget is {}; fewer at a time, "
                     "a smaller "
                     "--batch-size or --memory-budget {} would do",
                     format_bytes(plan.bytes), format_bytes(plan.budget), format_bytes(plan.bytes)));
  return plan;
}

void require_same_comparison(const std::string& folder, const RunConfig& config) {
  require_same_run(folder, config, free_keys);
}

Result compare(const Problem& problem, const RunConfig& config, const ResultDirectory& folder, bool resume,
               const ShowComparison& show) {
  Stopwatch watch;
  Result result = begin_result("compare", problem);
  result.comparison = Comparison(problem, config, folder.file("contestants.jsonl"), resume, show).run();
  result.status = status_of(*result.comparison);
  for (const auto* list : {&result.comparison->trials, &result.comparison->runs})
    for (const auto& run : *list) result.cost.gradient_equivalents += run.gradient_equivalents;
  result.cost.seconds = watch.seconds();
  result.cost.peak_bytes = peak_resident_memory();
  return result;
}

}  // namespace osculant
