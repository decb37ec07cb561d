#include "osculant/study/advice.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "osculant/base/interrupt.h"
#include "osculant/base/memory.h"
#include "osculant/base/stopwatch.h"
#include "osculant/io/safetensors.h"
#include "osculant/study/advice_facts.h"
#include "osculant/study/training_setup.h"

namespace osculant {
namespace {

constexpr const char *run_file = "advised.toml", *critical_file = "critical.safetensors";

void fill_defaults(const Problem& problem, RunConfig& config) {
  config.advise.race = config.advise.race.value_or(false);
  config.advise.write_init = config.advise.write_init.value_or(false);
  config.advise.candidates = config.advise.candidates.value_or(5);
  if (config.train.budget.empty()) config.train.budget = "60s";
  if (config.train.method.empty()) config.train.method = "adam";  // of runs whose method is not yet chosen
  fill_training_defaults(problem, config);
  check_training(problem, config);
}

std::vector<AdviceRecord::Choice> choices_of(const std::vector<MethodAdvice>& methods) {
  std::vector<AdviceRecord::Choice> choices;
  for (const auto& m : methods)
    choices.push_back({m.method, m.batch_size, m.runs, m.reason, m.bytes, m.gradient_equivalents, m.seconds});
  return choices;
}

// The ranking's first, or the race's winner in its place.
void put_first(AdviceRecord& advice, const std::string& method) {
  auto winner = std::find_if(advice.ranking.begin(), advice.ranking.end(),
                             [&](const auto& choice) { return choice.method == method; });
  winner->reason = "Won the race on this problem. " + winner->reason;
  std::rotate(advice.ranking.begin(), winner, winner + 1);
}

RunConfig advised_run(const RunConfig& config, const AdviceRecord::Choice& choice) {
  RunConfig advised = config;
  advised.advise = {};
  advised.analyze = {};
  advised.compare = {};
  advised.run.out.clear();
  advised.make_paths_absolute();
  advised.train.method = choice.method;
  advised.train.options.clear();
  advised.train.batch_size = choice.batch_size;
  return advised;
}

// Writes the network with these parameters; the model is left as it is.
void save_with(const Model& model, const Tensor& theta, const std::string& path) {
  auto before = model.layout().snapshot();
  model.layout().assign(theta);
  save_safetensors(path, model.state());
  model.layout().restore(before);
}

std::string in_a_sentence(const AdviceRecord& advice) {
  const auto& first = advice.ranking.front();
  std::string out = advice.winner.empty()
                        ? fmt::format(
                              "{} is what the evidence speaks for; a race on this problem (--race) "
                              "would settle it.",
                              first.method)
                        : fmt::format("{} won the race on this problem.", advice.winner);
  if (!advice.remedies.empty()) out += " See first what is to be mended.";
  return out;
}

}  // namespace

PlanRecord plan_advice(const Problem& problem, RunConfig& config) {
  fill_defaults(problem, config);
  GradientCost gradient = measure_gradient(
      problem, problem.objective(resolve_batch_size(config.train.batch_size, problem.train.size())));
  // About 100 products with the Hessian of the sample, 1.5 gradients each.
  double share =
      std::min(1.0, static_cast<double>(advice_examples) / static_cast<double>(problem.train.size()));
  PlanRecord plan;
  plan.gradient_equivalents = 150 * share;
  plan.seconds = plan.gradient_equivalents * gradient.seconds;
  plan.bytes = gradient.bytes;
  plan.budget = problem.memory_budget;
  plan.words = "measurements for the advice";
  if (!*config.advise.race) return plan;
  Budget budget = minimize_options(problem, config).budget;
  bool timed = budget.unit == Budget::Unit::seconds;
  plan.gradient_equivalents += budget.amount / (timed ? gradient.seconds : 1);
  plan.seconds += budget.amount * (timed ? 1 : gradient.seconds);
  plan.words += fmt::format(" and a race of {} methods in {}", *config.advise.candidates, budget.str());
  return plan;
}

Result advise(const Problem& problem, const RunConfig& config, const ResultDirectory& folder,
              const ShowProgress& show) {
  Stopwatch watch;
  Result result = begin_result("advise", problem);
  show("measuring: gradients, curvature, data");
  MeasuredFacts facts = measure_facts(problem, config);
  AdviceRecord& advice = result.advice.emplace();
  advice.facts = facts.told;
  advice.remedies = facts.remedies;
  advice.ranking = choices_of(advise_methods(facts.training));
  result.gradient_flow = facts.flow;
  if (!facts.mode_note.empty()) result.notes.push_back(facts.mode_note);
  RunConfig from = config;
  if (facts.critical.defined() && (nothing_gets_through(facts.flow.verdict) || *config.advise.write_init)) {
    save_with(problem.model, facts.critical, folder.file(critical_file));
    advice.initialization = critical_file;
    from.model.parameters = folder.file(critical_file);
  }
  RunConfig advised = advised_run(from, advice.ranking.front());
  if (*config.advise.race) {
    if (auto winner = race_advice(problem, from, advice, show)) {
      put_first(advice, winner->train.method);
      advised = advised_run(from, advice.ranking.front());
      advised.train.options = winner->train.options;
    }
  }
  advice.run_file = run_file;
  advice.words = in_a_sentence(advice);
  folder.write(run_file, advised.to_toml());
  result.status = interrupt_signal() != 0 ? "interrupted" : "done";
  for (const auto& round : advice.rounds)
    for (const auto& contender : round.contenders)
      result.cost.gradient_equivalents += contender.gradient_equivalents;
  result.cost.seconds = watch.seconds();
  result.cost.peak_bytes = peak_resident_memory();
  return result;
}

}  // namespace osculant
