#include "osculant/optim/minimizer.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "osculant/base/error.h"
#include "osculant/base/interrupt.h"
#include "osculant/base/stopwatch.h"
#include "osculant/base/text.h"
#include "osculant/io/archive.h"

namespace osculant {

Budget seconds(double amount) {
  require_positive("budget in seconds", amount);
  return {Budget::Unit::seconds, amount};
}

Budget gradient_equivalents(double amount) {
  require_positive("budget in gradient equivalents", amount);
  return {Budget::Unit::gradient_equivalents, amount};
}

std::string Budget::str() const {
  switch (unit) {
    case Unit::seconds:
      return fmt::format("{} s", amount);
    case Unit::gradient_equivalents:
      return fmt::format("{} ge", amount);
    case Unit::none:
      break;
  }
  return "none";
}

void MinimizeOptions::check() const {
  if (budget.unit != Budget::Unit::none) require_positive("budget", budget.amount);
  require_non_negative("steps", static_cast<double>(steps));
  require_non_negative("epochs", epochs);
  require_non_negative("gradient_norm", gradient_norm);
  require_non_negative("require_psd", require_psd);
  require_positive("psd_failure_probability", psd_failure_probability);
  require_between("psd_failure_probability", psd_failure_probability, 0, 1);
  require_non_negative("batch_size", static_cast<double>(batch_size));
  require_non_negative("evaluate_every", static_cast<double>(evaluate_every));
  require_at_least("max_failures", static_cast<double>(max_failures), 1);
  require_at_least("max_rejections", static_cast<double>(max_rejections), 1);
  bool ends =
      budget.unit != Budget::Unit::none || steps > 0 || epochs > 0 || gradient_norm > 0 || !target.empty();
  if (!ends)
    fail_usage(
        "minimize: nothing says when to stop: set one of budget, steps, epochs, target, gradient_norm");
}

std::string to_string(StopReason reason) {
  switch (reason) {
    case StopReason::target:
      return "target";
    case StopReason::steps:
      return "steps";
    case StopReason::epochs:
      return "epochs";
    case StopReason::budget:
      return "budget";
    case StopReason::gradient_norm:
      return "gradient_norm";
    case StopReason::stalled:
      return "stalled";
    case StopReason::numerical_failure:
      return "numerical_failure";
    case StopReason::interrupted:
      return "interrupted";
  }
  return "";
}

Minimizer::Minimizer(Objective objective, const Method& method, MinimizeOptions options)
    : options_((options.check(), std::move(options))),
      stepper_(std::move(objective), method,
               {.batch_size = options_.batch_size,
                .seed = options_.seed,
                .schedule = options_.schedule,
                .learning_rates = options_.learning_rates,
                .clip_gradient_norm = options_.clip_gradient_norm,
                .sharpness_radius = options_.sharpness_radius,
                .averaging = options_.averaging}) {
  if (!options_.target.empty()) target_ = Target::parse(options_.target);
}

std::optional<Minimizer::Stop> Minimizer::stop_before_step() {
  const auto& s = stepper_;
  const auto& budget = options_.budget;
  if (int signal = interrupt_signal())
    return Stop{StopReason::interrupted,
                fmt::format("interrupted by signal {} after {} steps", signal, s.steps())};
  if (options_.steps > 0 && s.steps() >= options_.steps)
    return Stop{StopReason::steps,
                s.steps() > options_.steps
                    ? fmt::format("{} steps are made, and {} were asked for", s.steps(), options_.steps)
                    : fmt::format("{} of {} steps made", s.steps(), options_.steps)};
  if (options_.epochs > 0 && s.epochs() >= options_.epochs)
    return Stop{StopReason::epochs,
                fmt::format("{} of {} epochs made", format_number(s.epochs()), options_.epochs)};
  if (budget.unit == Budget::Unit::seconds && s.seconds() >= budget.amount)
    return Stop{StopReason::budget, fmt::format("{:.2f} s of {} spent", s.seconds(), budget.str())};
  if (budget.unit == Budget::Unit::gradient_equivalents && s.gradient_equivalents() >= budget.amount)
    return Stop{StopReason::budget,
                fmt::format("{} ge of {} spent", format_number(s.gradient_equivalents()), budget.str())};
  if (options_.gradient_norm > 0) {
    double norm = stepper_.inspect().gradient_norm;
    if (norm <= options_.gradient_norm)
      return Stop{StopReason::gradient_norm,
                  fmt::format("gradient norm {} <= {}", format_number(norm), options_.gradient_norm)};
  }
  return std::nullopt;
}

std::optional<Minimizer::Stop> Minimizer::stop_after_step() const {
  if (stepper_.consecutive_failures() >= options_.max_failures)
    return Stop{StopReason::numerical_failure,
                fmt::format("{} steps in a row were not finite; the last good parameters are back",
                            stepper_.consecutive_failures())};
  if (stepper_.consecutive_rejections() >= options_.max_rejections)
    return Stop{StopReason::stalled,
                fmt::format("{} steps in a row were refused", stepper_.consecutive_rejections())};
  return std::nullopt;
}

std::optional<Minimizer::Stop> Minimizer::target_reached() const {
  if (!target_) return std::nullopt;
  double value = target_->value_in(last_.metrics);
  if (!target_->reached(value)) return std::nullopt;
  return Stop{StopReason::target, fmt::format("{} reached: {}", target_->str(), format_number(value))};
}

bool Minimizer::evaluation_due() const {
  if (options_.evaluate_every > 0) return stepper_.steps() % options_.evaluate_every == 0;
  return stepper_.takes_full_batch() || stepper_.epochs() == std::floor(stepper_.epochs());
}

double Minimizer::training_loss() {
  const auto& objective = stepper_.objective();
  if (!objective.has_outputs()) return averages() ? objective.value() : stepper_.inspect().value;
  return Objective(objective.terms()).value();  // with a ledger of its own: an evaluation costs no budget
}

void Minimizer::evaluate() {
  auto loss = averages() ? std::nullopt : stepper_.known_loss();
  Stopwatch watch;
  last_ = {.step = stepper_.steps(),
           .epochs = stepper_.epochs(),
           .seconds = stepper_.seconds(),
           .gradient_equivalents = stepper_.gradient_equivalents()};
  {
    ForwardState::EvaluationMode mode(stepper_.objective());
    AtAverage point(stepper_);
    last_.loss = loss ? *loss : training_loss();
    last_.metrics = {{"loss", last_.loss}};
    if (options_.metrics)
      for (auto& metric : options_.metrics()) last_.metrics.push_back(std::move(metric));
  }
  evaluation_seconds_ += watch.seconds();
  if (target_ && !evaluated_) target_->require_among(last_.metrics);
  if (!evaluated_ && std::isnan(initial_loss_)) initial_loss_ = last_.loss;
  evaluated_ = true;
  for (const auto& observer : options_.observers) observer->on_evaluation(last_, *this);
}

std::optional<Minimizer::Stop> Minimizer::loop(const Budget& slice) {
  double seconds = stepper_.seconds(), equivalents = stepper_.gradient_equivalents();
  auto spent = [&] {
    if (slice.unit == Budget::Unit::seconds) return stepper_.seconds() - seconds >= slice.amount;
    if (slice.unit == Budget::Unit::gradient_equivalents)
      return stepper_.gradient_equivalents() - equivalents >= slice.amount;
    return false;
  };
  if (!evaluated_) evaluate();
  if (auto stop = target_reached()) return stop;
  do {
    auto stop = stop_before_step();
    if (stop) {
      if (auto end = leave_saddle(*stop)) return end;
    } else {
      auto record = stepper_.step();
      if (record.interrupted) continue;
      watch(record);
    }
    if (auto stop = stop_after_step()) return stop;
    if (!evaluation_due()) continue;
    evaluate();
    if (auto stop = target_reached()) return stop;
  } while (!spent());
  return std::nullopt;
}

void Minimizer::watch(const StepRecord& record) {
  for (const auto& observer : options_.observers) observer->on_step(record, *this);
}

void Minimizer::look_for_negative_curvature() {
  Stopwatch watch;
  AtAverage point(stepper_);
  smallest_ =
      stepper_.minimum_eigenvalue({.tolerance = options_.require_psd,
                                   .failure_probability = options_.psd_failure_probability,
                                   .seed = options_.seed + static_cast<uint64_t>(negative_curvature_steps_),
                                   .progress = [](int64_t) { return interrupt_signal() == 0; }});
  evaluation_seconds_ += watch.seconds();
}

// At a point that is stationary but no minimum: a step along negative curvature, and nothing. Otherwise the
// stop.
std::optional<Minimizer::Stop> Minimizer::leave_saddle(Stop stop) {
  if (options_.require_psd <= 0 || stop.reason != StopReason::gradient_norm || averages()) return stop;
  look_for_negative_curvature();
  if (int signal = interrupt_signal())
    return Stop{StopReason::interrupted,
                fmt::format("interrupted by signal {} after {} steps", signal, stepper_.steps())};
  if (smallest_->verdict != MinimumEigenvalueVerdict::negative) return stop;
  auto record = stepper_.follow(smallest_->vector, smallest_->value);
  watch(record);
  if (!record.accepted) {
    stop.message += "; " + record.note;
    return stop;
  }
  smallest_.reset();
  ++negative_curvature_steps_;
  return std::nullopt;
}

Summary Minimizer::run() {
  return *advance({});
}

std::optional<Summary> Minimizer::advance(const Budget& slice) {
  if (!std::exchange(started_, true))
    for (const auto& observer : options_.observers) observer->on_start(*this);
  auto stop = loop(slice);
  if (!stop) return std::nullopt;
  started_ = false;
  if (stop->reason == StopReason::numerical_failure) stepper_.restore_last_good();
  if (last_.step != stepper_.steps() || stop->reason == StopReason::numerical_failure) evaluate();
  bool usable = stop->reason != StopReason::numerical_failure && stop->reason != StopReason::interrupted;
  if (options_.require_psd > 0 && usable && !smallest_) look_for_negative_curvature();
  auto summary = summarize(*stop);
  for (const auto& observer : options_.observers) observer->on_end(summary, *this);
  stepper_.release();
  if (averages()) stepper_.objective().layout().assign(stepper_.average());
  return summary;
}

Summary Minimizer::summarize(const Stop& stop) {
  Summary s;
  s.method = stepper_.method_name();
  s.reason = stop.reason;
  s.message = stop.message;
  if (target_) s.reached = target_->reached(target_->value_in(last_.metrics));
  s.parameters = stepper_.objective().parameters();
  s.examples = stepper_.objective().has_outputs() ? stepper_.objective().examples() : 0;
  s.steps = stepper_.steps();
  s.rejected_steps = stepper_.rejected_steps();
  s.failed_steps = stepper_.failed_steps();
  s.epochs = stepper_.epochs();
  s.initial_loss = initial_loss_;
  s.final_loss = last_.loss;
  s.final_metrics = last_.metrics;
  if (auto norm = stepper_.known_gradient_norm()) s.gradient_norm = *norm;
  s.seconds = stepper_.seconds();
  s.evaluation_seconds = evaluation_seconds_;
  s.gradient_equivalents = stepper_.gradient_equivalents();
  s.smallest_eigenvalue = smallest_;
  if (s.smallest_eigenvalue) s.smallest_eigenvalue->vector.reset();
  s.negative_curvature_steps = negative_curvature_steps_;
  return s;
}

void Minimizer::save(Archive& archive) const {
  auto scope = archive.scope("stepper");
  stepper_.save(scope);
  archive.put("initial_loss", initial_loss_);
  archive.put("evaluation_seconds", evaluation_seconds_);
  archive.put("seed", options_.seed);
  archive.put("evaluated", evaluated_);
  archive.put("negative_curvature_steps", negative_curvature_steps_);
  archive.put("last.step", last_.step);
  archive.put("last.loss", last_.loss);
  archive.put("last.totals", std::vector<double>{last_.epochs, last_.seconds, last_.gradient_equivalents});
  std::vector<std::string> names;
  std::vector<double> values;
  for (const auto& metric : last_.metrics) {
    names.push_back(metric.name);
    values.push_back(metric.value);
  }
  archive.put("last.names", names);
  archive.put("last.values", values);
}

void Minimizer::load(const Archive& archive) {
  auto seed = static_cast<uint64_t>(archive.integer("seed"));
  if (seed != options_.seed)
    fail_data(fmt::format("checkpoint: seed is {}, of this run {}", seed, options_.seed));
  stepper_.load(archive.scope("stepper"));
  initial_loss_ = archive.number("initial_loss");
  evaluation_seconds_ = archive.number("evaluation_seconds");
  evaluated_ = archive.flag("evaluated");
  negative_curvature_steps_ = archive.integer("negative_curvature_steps");
  auto totals = archive.numbers("last.totals");
  auto names = archive.texts("last.names");
  auto values = archive.numbers("last.values");
  if (totals.size() != 3 || names.size() != values.size())
    fail_data("checkpoint: the last evaluation is damaged");
  last_ = {.step = archive.integer("last.step"),
           .loss = archive.number("last.loss"),
           .epochs = totals[0],
           .seconds = totals[1],
           .gradient_equivalents = totals[2]};
  for (size_t i = 0; i < names.size(); ++i) last_.metrics.push_back({names[i], values[i]});
}

Summary minimize(Objective objective, const Method& method, const MinimizeOptions& options) {
  return Minimizer(std::move(objective), method, options).run();
}

std::string verdict_in_words(const MinimumEigenvalue& smallest) {
  switch (smallest.verdict) {
    case MinimumEigenvalueVerdict::certified:
      return fmt::format("certified: smallest eigenvalue >= -{}{}; lowest seen {} after {} products",
                         smallest.tolerance,
                         smallest.failure_probability > 0
                             ? " except with probability " + format_number(smallest.failure_probability)
                             : "",
                         format_number(smallest.value), smallest.products);
    case MinimumEigenvalueVerdict::negative:
      return fmt::format(
          "not certified: a direction with curvature {} was found, beyond half of the tolerance {}, after {} "
          "products",
          format_number(smallest.value), smallest.tolerance, smallest.products);
    case MinimumEigenvalueVerdict::unknown:
      break;
  }
  return "unknown: " + smallest.message;
}

std::string Summary::brief_report() const {
  std::string text =
      fmt::format("{}: loss {} -> {} in {} {}, {}, {} ge; stopped: {}", method, format_number(initial_loss),
                  format_number(final_loss), format_count(steps), steps == 1 ? "step" : "steps",
                  format_seconds(seconds), format_number(gradient_equivalents), message);
  if (reached && !*reached) text += " (target missed)";
  return text;
}

std::string Summary::full_report() const {
  TextTable table({method, ""});
  table.add({"stopped", fmt::format("{}: {}", to_string(reason), message)});
  if (reached) table.add({"target", *reached ? "reached" : "missed"});
  table.add({"parameters", format_count(parameters)});
  if (examples > 0) table.add({"examples", format_count(examples)});
  table.add({"steps", format_count(steps)});
  if (rejected_steps > failed_steps) table.add({"  refused", format_count(rejected_steps - failed_steps)});
  if (failed_steps > 0) table.add({"  not finite", format_count(failed_steps)});
  table.add({"epochs", format_number(epochs)});
  table.add({"loss at the start", format_number(initial_loss)});
  for (const auto& metric : final_metrics)
    table.add({metric.name + " at the end", format_number(metric.value)});
  if (!std::isnan(gradient_norm)) table.add({"gradient norm", format_number(gradient_norm)});
  if (smallest_eigenvalue) {
    table.add({"positive semidefinite", verdict_in_words(*smallest_eigenvalue)});
    table.add({"steps along negative curvature", format_count(negative_curvature_steps)});
  }
  table.add({"time in steps", format_seconds(seconds)});
  table.add({"time in evaluations", format_seconds(evaluation_seconds)});
  table.add({"work", fmt::format("{} gradient equivalents", format_number(gradient_equivalents))});
  return table.str();
}

}  // namespace osculant
