#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "osculant/base/interrupt.h"
#include "osculant/base/text.h"
#include "osculant/study/advice.h"
#include "osculant/study/contestants.h"
#include "osculant/study/training_setup.h"
#include "osculant/study/tuning.h"

namespace osculant {
namespace {

constexpr int64_t values_each = 3;

// A method with its options, and how it went so far.
struct Arm {
  std::string label;
  RunConfig config;
  RaceResult result = {};
};

std::vector<Arm> arms_of(const RunConfig& config, const AdviceRecord& advice) {
  std::vector<Arm> arms;
  int64_t methods = 0;
  for (const auto& choice : advice.ranking) {
    if (!choice.runs || methods++ == *config.advise.candidates) break;
    const MethodInfo& info = find_method(choice.method);
    Entry entry{choice.method, choice.method, {}, choice.batch_size};
    auto values = tuning_values(info, {}, values_each);
    if (values.empty())
      arms.push_back(
          {choice.method, training_config(config, entry, {}, static_cast<int64_t>(config.seed()))});
    for (double value : values)
      arms.push_back(
          {fmt::format("{}, {} = {}", choice.method, info.tuned, value),
           training_config(config, entry, {{info.tuned, value}}, static_cast<int64_t>(config.seed()))});
  }
  return arms;
}

double value_of(const RaceResult& result, const std::string& metric) {
  if (!result.summary || result.summary->reason == StopReason::numerical_failure) return std::nan("");
  for (const auto& found : result.summary->final_metrics)
    if (found.name == metric) return found.value;
  return std::nan("");
}

// b of the rounds' budgets b, 2b, 4b, ... for arms, arms/2, arms/4, ...; together what the race may take, to
// two digits.
double first_budget(size_t arms, double total) {
  double cost = 0, budget = 1;
  for (size_t left = arms; left > 1; left = (left + 1) / 2, budget *= 2)
    cost += static_cast<double>(left) * budget;
  return std::stod(fmt::format("{:.2g}", total / std::max(cost, 1.0)));
}

class AdviceRace {
 public:
  AdviceRace(const Problem& problem, const RunConfig& config, AdviceRecord& advice, const ShowProgress& show)
      : problem_(problem), advice_(advice), show_(show), arms_(arms_of(config, advice)) {
    budget_ = minimize_options(problem, config).budget;
    budget_.amount = first_budget(arms_.size(), budget_.amount);
    advice_.metric = "loss";
    if (config.train.target.empty()) return;
    target_ = Target::parse(config.train.target);
    advice_.metric = target_->metric();
  }

  std::optional<RunConfig> run() {
    while (arms_.size() > 1) {
      round();
      if (interrupt_signal() != 0) return std::nullopt;
      budget_.amount *= 2;
    }
    if (arms_.empty() || std::isnan(value_of(arms_[0].result, advice_.metric))) return std::nullopt;
    advice_.winner = arms_[0].label;
    return arms_[0].config;
  }

 private:
  void round() {
    std::vector<std::unique_ptr<Problem>> problems;
    std::vector<Contestant> contestants;
    auto memory = problem_.memory_budget / static_cast<int64_t>(arms_.size());
    for (const auto& arm : arms_) {
      problems.push_back(std::make_unique<Problem>(with_own_model(problem_, arm.config, memory)));
      contestants.push_back(make_contestant(*problems.back(), arm.config, arm.label));
      contestants.back().options.budget = budget_;
    }
    RaceOptions options;
    options.slice =
        std::min(options.slice, budget_.unit == Budget::Unit::seconds ? budget_.amount / 2 : 0.25);
    size_t number = advice_.rounds.size() + 1;
    options.on_turn = [&](const std::vector<Standing>& standings) {
      auto running =
          std::count_if(standings.begin(), standings.end(), [](const auto& s) { return s.end.empty(); });
      if (show_)
        show_(fmt::format("race, round {}: {} of {} methods still running, {} each", number, running,
                          standings.size(), budget_.str()));
    };
    auto results = race(std::move(contestants), options);
    for (size_t i = 0; i < arms_.size(); ++i) arms_[i].result = results[i];
    if (interrupt_signal() == 0) halve();
  }

  void halve() {
    std::stable_sort(arms_.begin(), arms_.end(),
                     [&](const Arm& a, const Arm& b) { return better(a.result, b.result); });
    AdviceRecord::Round record{budget_.str(), {}};
    size_t keep = (arms_.size() + 1) / 2;
    for (size_t i = 0; i < arms_.size(); ++i) {
      const auto& summary = arms_[i].result.summary;
      record.contenders.push_back({arms_[i].label, arms_[i].config.train.method,
                                   value_of(arms_[i].result, advice_.metric), summary ? summary->seconds : 0,
                                   summary ? summary->gradient_equivalents : 0, i < keep});
    }
    advice_.rounds.push_back(std::move(record));
    arms_.erase(arms_.begin() + static_cast<std::ptrdiff_t>(keep), arms_.end());
  }

  // The target in less, then the better end.
  bool better(const RaceResult& a, const RaceResult& b) const {
    if (target_ && reached(a) != reached(b)) return reached(a);
    if (target_ && reached(a)) return spent(a) < spent(b);
    double x = value_of(a, advice_.metric), y = value_of(b, advice_.metric);
    if (std::isnan(x) || std::isnan(y)) return !std::isnan(x);
    return target_ && target_->higher_is_better() ? x > y : x < y;
  }
  static bool reached(const RaceResult& result) {
    return result.summary && result.summary->reached.value_or(false);
  }
  double spent(const RaceResult& result) const {
    return budget_.unit == Budget::Unit::seconds ? result.summary->seconds
                                                 : result.summary->gradient_equivalents;
  }

  const Problem& problem_;
  AdviceRecord& advice_;
  const ShowProgress& show_;
  std::vector<Arm> arms_;
  Budget budget_;
  std::optional<Target> target_;
};

}  // namespace

std::optional<RunConfig> race_advice(const Problem& problem, const RunConfig& config, AdviceRecord& advice,
                                     const ShowProgress& show) {
  return AdviceRace(problem, config, advice, show).run();
}

}  // namespace osculant
