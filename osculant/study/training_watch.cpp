#include "osculant/study/training_watch.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "osculant/base/error.h"
#include "osculant/base/log.h"
#include "osculant/base/text.h"
#include "osculant/io/archive.h"
#include "osculant/linop/vector_space.h"
#include "osculant/optim/forward_state.h"
#include "osculant/study/flow_warnings.h"
#include "osculant/study/json_fields.h"
#include "osculant/study/plateau_cause.h"
#include "osculant/study/spectrum_fields.h"

namespace osculant {
namespace {

constexpr int64_t fewest_examples = 32, most_examples = 128;
constexpr int64_t shortest_window = 200, longest_window = 2000;
constexpr int64_t one_in = 128;        // examples: the sample, between these
constexpr int64_t lanczos_steps = 4;   // a look; later looks begin where the last one ended
constexpr double share_of_flow = 0.4;  // of what watching may spend, after the first look
constexpr double stands_still = 0.02;  // a fall of the loss by less, in a window
constexpr double soon = 100;           // steps
constexpr double graph_price = Price::gradient_graph;
constexpr double noise_price = Price::gradient + 5.0 / 3;
constexpr int64_t plateau_steps = 8;  // of Lanczos, for negative curvature

// The data term or terms alone, with the penalties that are functions of the parameters, on a ledger of its
// own. Each of several processes looks for itself: none waits for another.
Objective beside(const Objective& objective) {
  if (!objective.has_outputs()) return objective;
  std::vector<std::shared_ptr<const Regularizer>> regularizers;
  for (const auto& regularizer : objective.regularizers())
    if (!regularizer->of_data()) regularizers.push_back(regularizer);
  Objective mine(objective.terms(), regularizers);
  mine.set_memory_budget(objective.memory_budget());
  return mine.on_one_process();
}

bool penalises_data(const Objective& objective) {
  const auto& list = objective.regularizers();
  return std::any_of(list.begin(), list.end(), [](const auto& r) { return r->of_data(); });
}

ExampleParts parts_of(const Objective& objective, int64_t batch_size, uint64_t seed) {
  if (!objective.has_outputs() || objective.terms().size() != 1) return {};
  RandomStream random(seed, "watch: examples");
  int64_t examples = std::clamp(objective.examples() / one_in, fewest_examples, most_examples);
  return example_parts(objective, examples, batch_size, random);
}

// Two epochs of steps.
int64_t window_of(const Objective& objective, int64_t batch_size) {
  double epoch = objective.has_outputs()
                     ? static_cast<double>(objective.examples()) / static_cast<double>(batch_size)
                     : 1;
  auto steps = static_cast<int64_t>(2 * epoch);
  return std::clamp(steps, shortest_window, longest_window) / 2 * 2;
}

// The largest gradient norm whose squares fit the dtype.
double largest_norm(const Objective& objective) {
  return std::sqrt(objective.layout().dtype() == at::kDouble ? std::numeric_limits<double>::max()
                                                             : std::numeric_limits<float>::max());
}

// 2 / eta at the learning rate of a step of the schedule.
double limit_at(double limit, double scheduled) {
  return limit / std::max(scheduled, 1e-12);
}

int64_t next_look(int64_t step) {
  return step + std::max<int64_t>(10, step / 20);
}

std::string words_of(const Measured& x) {
  return fmt::format("{} (95 %: {} to {})", format_number(x.value), format_number(x.low),
                     format_number(x.high));
}

}  // namespace

// Without dropout; with batch norm as in training, where curvature depends on it.
struct TrainingWatch::Quiet {
  explicit Quiet(const Objective& objective) : forward(objective), before(forward.snapshot()) {
    bool coupled = false;
    for (const auto& term : objective.terms()) coupled = coupled || term.model.couples_examples();
    if (!coupled) evaluation.emplace(objective);
  }
  ~Quiet() {
    evaluation.reset();
    forward.restore(before);
  }
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;

  ForwardState forward;
  ForwardState::Snapshot before;
  std::optional<ForwardState::EvaluationMode> evaluation;
};

void TrainingWatchOptions::check() const {
  require_positive("share", share);
  schedule.check();
}

TrainingWatch::TrainingWatch(const Objective& objective, int64_t batch_size, TrainingWatchOptions options)
    : objective_(beside(objective)),
      options_((options.check(), std::move(options))),
      batch_size_(batch_size),
      parts_(parts_of(objective_, batch_size, options_.seed)),
      trend_(window_of(objective_, batch_size)),
      product_price_(Price::hessian_product) {
  found_.stability_limit = options_.limit.curvature;
  found_.limit_words = options_.limit.words;
  if (options_.scaled) {
    found_.stability_limit = NAN;
    found_.limit_words = "steps are clipped or scaled by group, or made sharpness-aware";
  } else if (penalises_data(objective)) {
    found_.stability_limit = NAN;
    found_.limit_words = "the curvature of penalties on gradient and curvature was not measured";
  }
}

TrainingWatch::~TrainingWatch() = default;

// Of a function of the parameters only the steps' own numbers are watched.
double TrainingWatch::spent() const {
  return spent_before_ + (objective_.has_outputs() ? objective_.ledger().gradient_equivalents() : 0);
}

bool TrainingWatch::affords(double gradient_equivalents) const {
  return spent() + gradient_equivalents <= options_.share * training_equivalents_;
}

double TrainingWatch::share_of(int64_t examples) const {
  return static_cast<double>(examples) / static_cast<double>(objective_.examples());
}

double TrainingWatch::flow_price() const {
  return Price::gradient * share_of(parts_.fit_examples());
}

double TrainingWatch::curvature_price(int64_t steps) const {
  return (graph_price + static_cast<double>(steps) * product_price_) * share_of(parts_.fit_examples()) +
         (graph_price + product_price_) * share_of(parts_.check_examples());
}

void TrainingWatch::see(const StepRecord& record, const Stepper& stepper) {
  if (record.interrupted) return;
  training_equivalents_ = record.gradient_equivalents;
  if (!record.finite) {
    look_at_failure(record, stepper);
    summarise(record.gradient_equivalents);
    return;
  }
  trend_.add(record.loss_before, record.gradient_norm);
  look_at_growth(record);
  if (!parts_.empty()) {
    // What a plateau needs is saved up for: it is said once, and late is too late.
    if (plateau_suspected(record.step)) {
      if (affords(plateau_price())) look_at_plateau(record);
    } else {
      set_anchor(record.step);
      look_when_due(record.step);
    }
  }
  summarise(record.gradient_equivalents);
}

void TrainingWatch::set_anchor(int64_t step) {
  if (anchor_.defined() && step - anchor_step_ < 2 * trend_.window()) return;
  anchor_ = objective_.layout().theta().clone();
  anchor_step_ = step;
}

void TrainingWatch::look_when_due(int64_t step) {
  double share = found_.flow_looks == 0 ? 1 : share_of_flow;
  double of_flow = static_cast<double>(found_.flow_looks + 1) * flow_price();
  bool fair = of_flow <= share * options_.share * training_equivalents_;
  if (step >= next_flow_ && fair && affords(flow_price())) look_at_flow(step);
  bool limited = !std::isnan(found_.stability_limit);
  if (limited && step >= next_curvature_ && affords(curvature_price(lanczos_steps))) look_at_curvature(step);
}

void TrainingWatch::on_end(const Summary& summary, const Minimizer&) {
  summarise(summary.gradient_equivalents);
}

void TrainingWatch::look_at_growth(const StepRecord& record) {
  auto growth = trend_.growth();
  double largest = largest_norm(objective_);
  if (!growth || growth->steps_left(largest) > soon) return;
  const Measured& r = growth->factor;
  WatchWarning warning{.kind = "overflow_ahead",
                       .step = record.step,
                       .last_step = record.step,
                       .measured = {r.value, r.low, r.high}};
  warning.message = fmt::format(
      "The gradient's norm is multiplied by {} a step: from {} at the first it has come to {}, and at this "
      "pace "
      "it overflows {:.0f} steps on.",
      words_of(r), format_number(growth->first), format_number(growth->norm), growth->steps_left(largest));
  warning.remedy =
      "A smaller learning rate, gradient clipping (train.clip_gradient_norm), or a method that "
      "checks its steps.";
  double limit = found_.stability_limit;
  if (!std::isnan(limit) && !options_.limit.nesterov) {
    Measured c{curvature_of_growth(options_.limit, r.value), curvature_of_growth(options_.limit, r.low),
               curvature_of_growth(options_.limit, r.high)};
    warning.message += fmt::format(
        " Of a quadratic that grows so, the curvature is {}: beyond {}, where steps are unstable ({}).",
        words_of(c), format_number(limit), options_.limit.words);
    double rate = options_.limit.learning_rate * limit;
    warning.remedy = fmt::format("A learning rate below {}, where that curvature is stable.",
                                 words_of(Measured{rate / c.value, rate / c.high, rate / c.low}));
  }
  warn(std::move(warning));
}

// Where numbers end is looked for on as much of the step's batch as the allowance pays for.
void TrainingWatch::look_at_failure(const StepRecord& record, const Stepper& stepper) {
  WatchWarning warning{.kind = "not_finite", .step = record.step, .last_step = record.step};
  warning.message = fmt::format("Step {} was not made: {}.", record.step,
                                record.note.empty() ? "a number was not finite" : record.note);
  warning.remedy =
      "A smaller learning rate, gradient clipping (train.clip_gradient_norm), or run.dtype = \"float64\".";
  auto batch = stepper.failed_batch();
  if (batch && !parts_.empty()) {
    const BatchSource& data = batch->terms()[0].data;
    double left = options_.share * training_equivalents_ - spent();
    auto most = static_cast<int64_t>(left / Price::gradient * static_cast<double>(objective_.examples()));
    int64_t required = objective_.terms()[0].model.required_batch_size();
    if (required > 0) most -= most % required;
    int64_t examples = std::min(most, data.examples());
    if (examples >= std::min<int64_t>(8, data.examples())) {
      Quiet quiet(objective_);
      auto part = std::make_shared<BatchInMemory>(data.select(at::arange(examples)));
      int64_t piece = required > 0 ? required : std::min(examples, data.batch_size());
      GradientFlow flow = gradient_flow(objective_.on(std::vector<BatchSource>{BatchSource(part, piece)}));
      warning.message += " " + where_numbers_end(flow, data.examples());
    } else {
      warning.message +=
          " In which layer is unknown: to look would take more than watching is allowed to spend.";
    }
  }
  warn(std::move(warning));
}

void TrainingWatch::look_at_flow(int64_t step) {
  GradientFlow flow;
  {
    Quiet quiet(objective_);
    flow = gradient_flow(parts_.fit.front());
  }
  ++found_.flow_looks;
  found_.flow = name_of(flow.verdict);
  next_flow_ = next_look(step);
  bool risen = trend_.last_loss() > trend_.first_step_loss();
  for (auto& warning : flow_warnings(flow, step, risen)) warn(std::move(warning));
}

bool TrainingWatch::loss_is_stuck() const {
  double recent = trend_.recent_loss();
  return recent >= trend_.earlier_loss() && recent > 0.98 * trend_.first_loss();
}

void TrainingWatch::look_at_curvature(int64_t step) {
  Quiet quiet(objective_);
  double before = spent();
  RandomStream random(options_.seed, fmt::format("watch: look {}", ++looks_));
  auto ends = extreme_directions(parts_.fit.front(), steepest_, lanczos_steps, random);
  next_curvature_ = next_look(step);
  if (!ends.largest.defined()) return;
  Measured curvature = measure_along(parts_, ends.largest).curvature;
  double graphs = graph_price * share_of(parts_.fit_examples() + parts_.check_examples());
  double products = static_cast<double>(lanczos_steps) * share_of(parts_.fit_examples()) +
                    share_of(parts_.check_examples());
  product_price_ = std::max(Price::hessian_product, (spent() - before - graphs) / products);
  steepest_ = ends.largest;
  double limit = limit_at(found_.stability_limit, options_.schedule.at(step));
  found_.sharpness.push_back({step, {curvature.value, curvature.low, curvature.high}, limit});

  unstable_in_a_row_ = curvature.low > limit && loss_is_stuck() ? unstable_in_a_row_ + 1 : 0;
  if (unstable_in_a_row_ < 2) return;
  warn({.kind = "unstable_step",
        .step = step,
        .last_step = step,
        .measured = {curvature.value, curvature.low, curvature.high},
        .message = fmt::format(
            "The step is too large: along one direction the curvature is {}, beyond {} ({}), so that steps "
            "along it grow; and the loss does not fall, {} in the first 10 steps and {} in the last 10.",
            words_of(curvature), format_number(limit), options_.limit.words,
            format_number(trend_.first_loss()), format_number(trend_.recent_loss())),
        .remedy = fmt::format("A learning rate below {}, which is stable along that direction.",
                              format_number(options_.limit.learning_rate * limit / curvature.value))});
}

bool TrainingWatch::plateau_suspected(int64_t step) const {
  if (step < next_plateau_ || !anchor_.defined() || step - anchor_step_ < trend_.window() / 2) return false;
  double rounding =
      VectorSpace(1, objective_.layout().options()).epsilon() * std::abs(trend_.first_step_loss());
  if (std::abs(trend_.recent_loss()) <= rounding) return false;  // there is nothing left to fall
  auto fall = trend_.relative_fall();
  return fall && fall->high < stands_still;
}

double TrainingWatch::plateau_price() const {
  double along_the_road = (graph_price + product_price_) * share_of(parts_.check_examples());
  double noise = batch_size_ < objective_.examples()
                     ? noise_price * share_of(noise_examples(batch_size_, objective_.examples()))
                     : 0;
  return curvature_price(plateau_steps) + along_the_road + noise + flow_price();
}

void TrainingWatch::look_at_plateau(const StepRecord& record) {
  look_at_flow(record.step);
  Plateau plateau{.step = record.step,
                  .window = trend_.window(),
                  .fall = *trend_.relative_fall(),
                  .loss = trend_.recent_loss(),
                  .first_loss = trend_.first_step_loss(),
                  .gradient_norm = record.gradient_norm,
                  .batch_size = batch_size_,
                  .moved = objective_.layout().theta() - anchor_,
                  .moved_steps = record.step - anchor_step_,
                  .limit = options_.limit};
  if (!found_.sharpness.empty()) plateau.sharpness = found_.sharpness.back().curvature;
  plateau.limit.curvature = limit_at(found_.stability_limit, options_.schedule.at(record.step));
  RandomStream random(options_.seed, fmt::format("watch: look {}", ++looks_));
  std::optional<WatchWarning> cause;
  if (found_.flow == name_of(FlowVerdict::healthy) || found_.flow == name_of(FlowVerdict::unknown)) {
    Quiet quiet(objective_);
    cause = plateau_cause(objective_, parts_, plateau, random);
  }
  if (cause) warn(std::move(*cause));
  next_plateau_ = record.step + std::max(trend_.window(), record.step / 4);
}

// A kind is said once.
void TrainingWatch::warn(WatchWarning warning) {
  for (auto& known : found_.warnings)
    if (known.kind == warning.kind) {
      known.last_step = warning.step;
      return;
    }
  found_.warnings.push_back(std::move(warning));
  log_warning(osculant::words_of(found_.warnings.back()));
}

void TrainingWatch::summarise(double training_equivalents) {
  found_.gradient_equivalents = spent();
  found_.share = training_equivalents > 0 ? spent() / training_equivalents : 0;
  found_.words =
      fmt::format("{} at gradient flow and {} at curvature, {} ge, {:.1f} % of the training's; {}",
                  format_count(found_.flow_looks) + (found_.flow_looks == 1 ? " look" : " looks"),
                  found_.sharpness.size(), format_number(spent()), 100 * found_.share,
                  found_.warnings.empty()       ? "no warning"
                  : found_.warnings.size() == 1 ? "1 warning"
                                                : fmt::format("{} warnings", found_.warnings.size()));
}

void TrainingWatch::save(Archive& archive) const {
  auto trend = archive.scope("trend");
  trend_.save(trend);
  archive.put("found", json_from(found_).dump());
  archive.put("spent", spent());
  archive.put("product_price", product_price_);
  archive.put("counts", std::vector<double>{
                            static_cast<double>(next_flow_), static_cast<double>(next_curvature_),
                            static_cast<double>(next_plateau_), static_cast<double>(looks_),
                            static_cast<double>(unstable_in_a_row_), static_cast<double>(anchor_step_)});
  if (steepest_.defined()) archive.put("steepest", steepest_.clone());
  if (anchor_.defined()) archive.put("anchor", anchor_.clone());
}

void TrainingWatch::load(const Archive& archive) {
  trend_.load(archive.scope("trend"));
  try {
    found_ = record_from<WatchRecord>(Json::parse(archive.text("found")));
  } catch (const Json::exception& error) {
    fail_data(fmt::format("checkpoint: what the watcher found is damaged: {}", error.what()));
  }
  spent_before_ = archive.number("spent") - (spent() - spent_before_);
  product_price_ = archive.number("product_price");
  auto counts = archive.numbers("counts");
  if (counts.size() != 6) fail_data("checkpoint: the watcher's counts are damaged");
  auto count = [&](size_t i) { return static_cast<int64_t>(counts[i]); };
  next_flow_ = count(0);
  next_curvature_ = count(1);
  next_plateau_ = count(2);
  looks_ = count(3);
  unstable_in_a_row_ = count(4);
  anchor_step_ = count(5);
  const Tensor& theta = objective_.layout().theta();
  if (archive.contains("steepest")) steepest_ = archive.tensor("steepest", theta);
  if (archive.contains("anchor")) anchor_ = archive.tensor("anchor", theta);
}

}  // namespace osculant
