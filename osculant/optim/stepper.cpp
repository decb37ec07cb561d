#include "osculant/optim/stepper.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>

#include "osculant/base/error.h"
#include "osculant/base/stopwatch.h"
#include "osculant/curvature/curvature.h"
#include "osculant/io/archive.h"
#include "osculant/linop/vector_space.h"

namespace osculant {

namespace {

// A gradient whose squares overflow its dtype would leave infinities in the averages of Adam and RMSprop.
bool usable(double value, double gradient_norm, at::ScalarType dtype) {
  double largest =
      dtype == at::kDouble ? std::numeric_limits<double>::max() : std::numeric_limits<float>::max();
  return std::isfinite(value) && gradient_norm < std::sqrt(largest);
}

double norm_of(const Tensor& x) {
  return VectorSpace(x.numel(), x.options()).norm(x);
}

// So that a sum of charges that goes on from here has the bits it would have had.
void restore_total(CostLedger& ledger, double gradient_equivalents) {
  ledger.restore(gradient_equivalents, ledger.products(), ledger.gradients());
}

// One order a term. A term whose source is read whole takes part in every step with all its examples.
std::vector<DataOrder> make_orders(const Objective& objective, const StepperOptions& options) {
  std::vector<DataOrder> orders;
  if (!objective.has_outputs()) return orders;
  const auto& terms = objective.terms();
  int64_t size = options.batch_size == 0 ? terms.front().data.batch_size() : options.batch_size;
  if (size >= objective.examples()) return orders;
  for (size_t t = 0; t < terms.size(); ++t) {
    const auto& data = terms[t].data;
    int64_t chunk = terms[t].model.couples_examples() ? 0 : data.batch_size();
    int64_t wanted = options.batch_size == 0 ? data.batch_size() : options.batch_size;
    orders.emplace_back(data, wanted, chunk, options.seed, static_cast<int64_t>(t));
  }
  return orders;
}

}  // namespace

void StepperOptions::check() const {
  require_at_least("batch_size", static_cast<double>(batch_size), 0);
  schedule.check();
  for (const auto& rule : learning_rates)
    require_non_negative("learning_rate of \"" + rule.match + "\"", rule.value);
  require_non_negative("clip_gradient_norm", clip_gradient_norm);
  require_non_negative("sharpness_radius", sharpness_radius);
  require_between("averaging", averaging, 0, 1);
}

// The next step's batch, linearised at theta, and what that cost: charged to the step that uses it.
struct Stepper::Pending {
  Objective objective;
  std::shared_ptr<Linearization> linearization;
  ForwardState::Snapshot before, after;
  Point point;
  int64_t epoch;       // of theta
  double equivalents;  // not charged to a step yet
  double seconds;
  double ledger_before;
};

Stepper::Stepper(Objective objective, const Method& method, const StepperOptions& options)
    : objective_(std::move(objective)),
      options_((options.check(), options)),
      method_name_(method.name()),
      parts_(method.make(objective_)),
      random_(options.seed, "method"),
      forward_(objective_),
      orders_(make_orders(objective_, options)) {
  bool scales = !options_.schedule.is_constant() || !options_.learning_rates.empty();
  if (scales && !parts_.rule->takes_all())
    fail_usage(fmt::format(
        "{} of method {}: it finds the length of its steps itself",
        options_.learning_rates.empty() ? "schedule" : "learning_rate of a parameter group", method_name_));
  if (options_.sharpness_radius > 0 && !parts_.rule->takes_all())
    fail_usage(fmt::format("sharpness_radius of method {}: it judges its steps by the loss where they start",
                           method_name_));
  if (!options_.learning_rates.empty())
    rates_ = per_coordinate(objective_.layout(), options_.learning_rates, 1);
  if (options_.averaging > 0) average_ = objective_.layout().theta().clone();
}

Stepper::~Stepper() = default;

Objective Stepper::batch_objective() const {
  if (given_) return *given_;
  if (takes_full_batch()) return objective_;
  std::vector<BatchSource> data;
  for (const auto& order : orders_) data.push_back(order.current());
  return objective_.on(std::move(data));
}

int64_t Stepper::batch_examples() const {
  if (given_) return given_->has_outputs() ? given_->examples() : 1;
  return takes_full_batch() ? objective_.examples() : orders_.front().current_size();
}

int64_t Stepper::batch_size() const {
  return takes_full_batch() ? objective_.examples() : orders_.front().batch_size();
}

double Stepper::epochs() const {
  if (given_epochs_ > 0) return given_epochs_;
  if (takes_full_batch()) return static_cast<double>(counters_.steps);
  const auto& order = orders_.front();
  return static_cast<double>(order.epoch()) +
         static_cast<double>(order.position()) / static_cast<double>(order.batches());
}

Stepper::Pending& Stepper::pending() {
  if (pending_ && pending_->epoch != objective_.layout().epoch()) release();
  if (pending_) return *pending_;
  Stopwatch watch;
  double before = objective_.ledger().gradient_equivalents();
  auto state = forward_.snapshot();
  auto batch = batch_objective().with_regularizers(objective_.regularizers()).advanced();
  forward_.restore(state);
  auto linearization = batch.linearize(parts_.direction->needs() | Needs{.gradient = true});
  double gradient_norm = norm_of(linearization->gradient());
  auto after = forward_.snapshot();
  traceless_ = traceless_ && state == after;
  bool whole = takes_full_batch() && objective_.regularizers().empty() && traceless_;
  double value = linearization->value();
  Point point{value, gradient_norm, usable(value, gradient_norm, objective_.layout().dtype()), whole};
  pending_ = std::make_shared<Pending>(
      Pending{batch, linearization, state, after, point, objective_.layout().epoch(),
              objective_.ledger().gradient_equivalents() - before, watch.seconds(), before});
  return *pending_;
}

Stepper::Point Stepper::inspect() {
  return pending().point;
}

std::optional<double> Stepper::known_loss() {
  if (!takes_full_batch() || !objective_.regularizers().empty() || !traceless_) return std::nullopt;
  if (loss_epoch_ == objective_.layout().epoch()) return loss_here_;
  auto point = inspect();
  return point.is_training_loss ? std::optional(point.value) : std::nullopt;
}

std::optional<double> Stepper::known_gradient_norm() const {
  if (!pending_ || pending_->epoch != objective_.layout().epoch()) return std::nullopt;
  return pending_->point.gradient_norm;
}

void Stepper::release() {
  if (!pending_) return;
  forward_.restore(pending_->before);
  if (pending_->equivalents > 0) restore_total(objective_.ledger(), pending_->ledger_before);
  pending_.reset();
}

StepRecord Stepper::step() {
  return make([this](StepRecord& record) { attempt(record); });
}

StepRecord Stepper::step(const Objective& batch, bool divisible) {
  release();
  given_ = batch;
  divisible_ = divisible;
  double whole = objective_.has_outputs() ? static_cast<double>(objective_.examples()) : 1;
  given_epochs_ += static_cast<double>(batch_examples()) / whole;
  try {
    StepRecord record = step();
    release();
    given_.reset();
    return record;
  } catch (...) {
    pending_.reset();
    given_.reset();
    throw;
  }
}

StepRecord Stepper::make(const std::function<void(StepRecord&)>& work) {
  Pending& here = pending();
  Stopwatch watch;
  double before = objective_.ledger().gradient_equivalents();
  StepRecord record;
  record.step = counters_.steps + 1;
  record.examples = batch_examples();
  record.loss_before = here.point.value;
  record.gradient_norm = here.point.gradient_norm;
  if (parts_.damping) record.damping = parts_.damping->value();
  double seconds = std::exchange(here.seconds, 0), equivalents = std::exchange(here.equivalents, 0);
  if (here.point.finite) {
    work(record);
  } else {
    record.finite = false;
    record.note =
        fmt::format("skipped: loss {:.4g}, gradient norm {:.4g}", record.loss_before, record.gradient_norm);
    std::string blamed = here.linearization->not_finite();
    if (!blamed.empty()) record.note += fmt::format("; regulariser {} is not finite", blamed);
  }
  if (record.interrupted) {  // as if it had not begun
    forward_.restore(here.after);
    here.seconds = seconds;
    here.equivalents = equivalents;
    restore_total(objective_.ledger(), before);
    return record;
  }
  // One clock for all processes: budgets are decided by it.
  double spent = objective_.communicator().of_first(seconds + watch.seconds());
  finish(record, spent, equivalents + objective_.ledger().gradient_equivalents() - before);
  return record;
}

void Stepper::attempt(StepRecord& record) {
  auto here = pending_;  // outlives the step: an accepted one puts the next point in its place
  forward_.restore(here->after);
  last_good_ = objective_.layout().snapshot();
  auto& linearization = *here->linearization;
  Tensor gradient = linearization.gradient();
  double norm = record.gradient_norm;
  if (options_.sharpness_radius > 0 && norm > 0) {
    gradient = uphill_gradient(*here);
    norm = norm_of(gradient);
    if (!usable(0, norm, gradient.scalar_type())) {
      record.finite = false;
      record.note = fmt::format("skipped: gradient norm {:.4g} at sharpness_radius {}", norm,
                                options_.sharpness_radius);
      return;
    }
  }
  if (options_.clip_gradient_norm > 0 && norm > options_.clip_gradient_norm)
    gradient = gradient * (options_.clip_gradient_norm / norm);
  Objective whole = objective_.with_regularizers(here->objective.regularizers());
  Samples samples(given_ ? here->objective : whole, here->objective, random_);
  Trials trials(here->objective, *last_good_, here->point.value, linearization.gradient(), forward_,
                here->before);
  StepContext context{linearization, gradient, samples, record.step, random_, takes_full_batch(), &trials};
  parts_.direction->prepare(context);
  check_noise(record, context);
  for (int64_t i = 1; i <= parts_.attempts; ++i) {
    record.attempts = i;
    auto outcome = try_once(record, context);
    if (record.interrupted) return;
    record.accepted = outcome.accepted;
    record.loss_after = outcome.loss_after;
    record.rho = outcome.rho;
    if (!outcome.reason.empty()) record.note += (record.note.empty() ? "" : "; ") + outcome.reason;
    if (outcome.accepted) return;
  }
  forward_.restore(here->before);
}

// The gradient at theta + rho g / norm(g), under the masks of the gradient g.
Tensor Stepper::uphill_gradient(const Pending& here) const {
  struct Return {
    const Stepper& stepper;
    const Pending& here;
    ~Return() {
      stepper.objective_.layout().restore(*stepper.last_good_);
      stepper.forward_.restore(here.after);
    }
  } guard{*this, here};
  objective_.layout().add(here.linearization->gradient(),
                          options_.sharpness_radius / here.point.gradient_norm);
  forward_.restore_generator(here.before);
  return here.objective.value_and_gradient().second;
}

// The direction's step, scaled where the run says so, its model that of the true gradient.
Step Stepper::propose(const StepContext& context) {
  Damping none(DampingOptions{.initial = 0});
  Step step = parts_.direction->propose(context, parts_.damping ? *parts_.damping : none);
  if (!step.displacement.defined()) return step;
  double share = options_.schedule.at(context.step);
  if (share != 1) step.displacement = step.displacement * share;
  if (rates_.defined()) step.displacement = step.displacement * rates_;
  if (share != 1 || rates_.defined()) step.target = Tensor();
  const Tensor& g = context.linearization.gradient();
  if (!context.gradient.is_same(g)) {
    VectorSpace space(g.numel(), g.options());
    Tensor clipped = g - context.gradient;
    step.predicted_change += space.dot(clipped, step.displacement);
    for (auto& iterate : step.earlier) iterate.predicted_change += space.dot(clipped, iterate.displacement);
    step.slope = space.dot(g, step.displacement);
  }
  return step;
}

// g = (g_1 + g_2) / 2 over the halves of a batch: the second half's gradient is 2 g - g_1.
void Stepper::check_noise(StepRecord& record, const StepContext& context) {
  if (!parts_.damping || takes_full_batch() || !divisible_ || batch_examples() < 2) return;
  if (!parts_.damping->noise_check_due(record.step)) return;
  Tensor first = context.samples.part(0.5, {.gradient = true})->gradient();
  Tensor p = parts_.direction->step_for(context, first, *parts_.damping);
  if (!p.defined()) return;
  Tensor q =
      parts_.direction->step_for(context, 2 * context.linearization.gradient() - first, *parts_.damping);
  VectorSpace space(p.numel(), p.options());
  parts_.damping->noise_checked(space.dot(p, q) / (space.norm(p) * space.norm(q)));
  record.damping = parts_.damping->value();
}

StepOutcome Stepper::try_once(StepRecord& record, const StepContext& context) {
  Step step = propose(context);
  record.solver_iterations += step.solver_iterations;
  record.solver_stop = step.solver_stop;
  if (!step.note.empty()) record.note += (record.note.empty() ? "" : "; ") + step.note;

  StepOutcome outcome;
  record.interrupted = step.interrupted;
  if (step.interrupted) return outcome;
  bool finite = step.displacement.defined() && std::isfinite(norm_of(step.displacement));
  if (finite) {
    outcome = parts_.rule->decide(*context.trials, step);
  } else {
    outcome.reason = step.displacement.defined() ? "the step is not finite" : "no step was found";
    record.finite = !step.displacement.defined();
  }
  if (parts_.damping) {
    if (!outcome.accepted)
      parts_.damping->update(std::min(outcome.rho, 0.0));
    else if (!std::isnan(outcome.rho))
      parts_.damping->update(outcome.rho);
  }
  if (outcome.accepted && vanishes(outcome)) {
    outcome.accepted = false;
    outcome.reason = "the step vanishes in the rounding of the parameters";
  }
  if (outcome.accepted) {
    take(record, step, outcome, *context.trials);
    parts_.direction->accepted(outcome);
  } else {
    parts_.direction->rejected(outcome);
  }
  return outcome;
}

void Stepper::take(StepRecord& record, const Step& step, const StepOutcome& outcome, const Trials& trials) {
  record.step_norm = norm_of(outcome.displacement);
  apply(step, outcome, trials);
}

StepRecord Stepper::follow(const Tensor& v, double curvature) {
  return make([&](StepRecord& record) {
    auto here = pending_;
    forward_.restore(here->after);
    last_good_ = objective_.layout().snapshot();
    const Tensor& g = here->linearization->gradient();
    VectorSpace space(g.numel(), g.options());
    // abs(c), as Royer, O'Neill & Wright (2020), or what makes a difference that the loss can show.
    double visible = 200 * space.epsilon() * std::abs(here->point.value);
    double length = std::max(-curvature, std::sqrt(visible / -curvature)), slope = space.dot(g, v);
    Step step;
    step.displacement = v * (slope > 0 ? -length : length);
    step.slope = -std::abs(slope) * length;
    step.predicted_change = step.slope + curvature * length * length / 2;
    Trials trials(here->objective, *last_good_, here->point.value, g, forward_, here->before);
    auto outcome = curvature_search()->decide(trials, step);
    record.accepted = outcome.accepted && outcome.loss_after < here->point.value;
    record.loss_after = outcome.loss_after;
    record.rho = outcome.rho;
    record.note = fmt::format("along an eigenvector of curvature {:.4g}", curvature);
    if (record.accepted) {
      take(record, step, outcome, trials);
    } else {
      record.note += ", where the loss does not fall";
      forward_.restore(here->before);
    }
  });
}

MinimumEigenvalue Stepper::minimum_eigenvalue(const MinimumEigenvalueOptions& options) {
  auto state = forward_.snapshot();
  auto found = minimum_eigenvalue_oracle(Hessian(objective_), options);
  forward_.restore(state);
  return found;
}

// Asked of steps that changed no digit of the loss: a run that has arrived must be able to stop.
bool Stepper::vanishes(const StepOutcome& outcome) const {
  if (outcome.loss_after != pending_->point.value) return false;
  const Tensor& theta = objective_.layout().theta();
  return (theta + outcome.displacement).equal(theta);
}

void Stepper::apply(const Step& step, const StepOutcome& outcome, const Trials& trials) {
  auto& layout = objective_.layout();
  const auto& kept = trials.kept();
  auto here = std::move(pending_);
  if (!kept.linearization) {
    if (outcome.displacement.is_same(step.displacement) && step.target.defined())
      layout.assign(step.target);
    else
      layout.add(outcome.displacement);
  } else {
    layout.restore(kept.point);
  }
  if (here->point.is_training_loss && !std::isnan(outcome.loss_after)) {
    loss_here_ = outcome.loss_after;
    loss_epoch_ = layout.epoch();
  }
  // The line search has linearised the new point: on the full batch that is the next step's work, done. A
  // pass that changes buffers or draws dropout masks has to be made anew.
  auto needs = parts_.direction->needs();
  bool moves = here->objective.regularizers() != objective_.regularizers();  // the next step has others
  objective_ = objective_.with_regularizers(here->objective.regularizers());
  bool enough = kept.linearization && !needs.hessian && !needs.gauss_newton && !needs.outputs && !moves;
  if (!enough || !takes_full_batch() || !(here->before == here->after)) return;
  double value = kept.linearization->value(), norm = norm_of(kept.linearization->gradient());
  Point point{value, norm, usable(value, norm, layout.dtype()), here->point.is_training_loss};
  pending_ = std::make_shared<Pending>(
      Pending{objective_, kept.linearization, here->before, here->after, point, layout.epoch(), 0, 0, 0});
}

void Stepper::finish(StepRecord& record, double seconds, double equivalents) {
  auto& c = counters_;
  if (!record.finite) record.accepted = false;
  c.failures = record.finite ? 0 : c.failures + 1;
  c.rejections = record.accepted ? 0 : c.rejections + 1;
  c.failed += record.finite ? 0 : 1;
  c.rejected += record.accepted ? 0 : 1;
  ++c.steps;
  if (average_.defined()) {
    double weight = std::max(1 - options_.averaging, 1 / static_cast<double>(c.steps));
    average_ += weight * (objective_.layout().theta() - average_);
  }
  failed_batch_.reset();
  if (!record.finite && pending_) failed_batch_ = pending_->objective;
  // A refused step on the full batch leaves its linearization to the next one, which tries another damping.
  if (!record.finite || (!takes_full_batch() && !record.accepted)) release();
  if (!given_)
    for (auto& order : orders_) order.advance();
  c.seconds += seconds;
  c.gradient_equivalents += equivalents;
  record.seconds = c.seconds;
  record.gradient_equivalents = c.gradient_equivalents;
  record.epochs = epochs();
}

void Stepper::restore_last_good() {
  if (!last_good_) return;
  release();
  objective_.layout().assign(last_good_->theta);
}

namespace {

// Names and sizes of the parameters: a checkpoint of another model must not be taken for one of this.
std::vector<std::string> describe(const ParameterLayout& layout) {
  std::vector<std::string> rows;
  for (const auto& p : layout.parameters()) rows.push_back(fmt::format("{} {}", p.name, c10::str(p.shape)));
  return rows;
}

}  // namespace

void Stepper::save(Archive& archive) const {
  archive.put("method", method_name_);
  archive.put("parameters", describe(objective_.layout()));
  archive.put("batch_size", batch_size());
  archive.put("theta", objective_.layout().theta().clone());
  if (last_good_) archive.put("last_good", last_good_->theta);
  // What inspect() did to buffers and dropout is not part of the run yet.
  auto state = pending_ ? pending_->before : forward_.snapshot();
  if (state.generator.defined()) archive.put("generator", state.generator);
  for (size_t i = 0; i < state.buffers.size(); ++i)
    archive.put(fmt::format("buffer.{}", i), state.buffers[i]);
  archive.put("random", random_.state().clone());
  archive.put("given_epochs", given_epochs_);
  if (average_.defined()) archive.put("average", average_.clone());
  if (parts_.damping) {
    auto damping = archive.scope("damping");
    parts_.damping->save(damping);
  }
  for (size_t t = 0; t < orders_.size(); ++t) {
    archive.put(fmt::format("epoch.{}", t), orders_[t].epoch());
    archive.put(fmt::format("position.{}", t), orders_[t].position());
  }
  const auto& c = counters_;
  archive.put("counts",
              std::vector<double>{static_cast<double>(c.steps), static_cast<double>(c.failures),
                                  static_cast<double>(c.rejections), static_cast<double>(c.failed),
                                  static_cast<double>(c.rejected), c.seconds, c.gradient_equivalents});
  std::vector<std::string> names;
  for (const auto& regularizer : objective_.regularizers()) {
    auto state = archive.scope(fmt::format("regularizer.{}", names.size()));
    regularizer->save(state);
    names.push_back(regularizer->name());
  }
  archive.put("regularizers", names);
  // The ledger's total when the next step's work begins; work that is there already is paid for.
  bool prepaid = pending_ && pending_->equivalents == 0 && pending_->epoch == objective_.layout().epoch();
  archive.put("prepaid", prepaid);
  archive.put("ledger",
              pending_ && !prepaid ? pending_->ledger_before : objective_.ledger().gradient_equivalents());
  auto direction = archive.scope("direction");
  parts_.direction->save(direction);
}

void Stepper::load(const Archive& archive) {
  auto require_same = [&](const char* what, const auto& saved, const auto& mine) {
    if (saved != mine) fail_data(fmt::format("checkpoint: {} is {}, of this run {}", what, saved, mine));
  };
  require_same("method", archive.text("method"), method_name_);
  require_same("batch size", archive.integer("batch_size"), batch_size());
  if (archive.texts("parameters") != describe(objective_.layout()))
    fail_data(fmt::format("checkpoint: is of another model: parameters [{}]",
                          fmt::join(archive.texts("parameters"), ", ")));
  auto& layout = objective_.layout();
  pending_.reset();
  auto regularizers = objective_.regularizers();
  if (archive.contains("regularizers")) {
    std::vector<std::string> names;
    for (const auto& regularizer : regularizers) names.push_back(regularizer->name());
    require_same("list of regularisers", fmt::format("[{}]", fmt::join(archive.texts("regularizers"), ", ")),
                 fmt::format("[{}]", fmt::join(names, ", ")));
    for (size_t i = 0; i < regularizers.size(); ++i)
      if (auto loaded = regularizers[i]->loaded(archive.scope(fmt::format("regularizer.{}", i)), layout))
        regularizers[i] = loaded;
    objective_ = objective_.with_regularizers(regularizers);
  }
  layout.assign(archive.tensor("theta", layout.theta()));
  last_good_.reset();
  if (archive.contains("last_good"))
    last_good_ = ParameterSnapshot{archive.tensor("last_good", layout.theta()), layout.epoch()};
  auto state = forward_.snapshot();
  if (archive.contains("generator")) state.generator = archive.tensor("generator");
  for (size_t i = 0; i < state.buffers.size(); ++i)
    state.buffers[i] = archive.tensor(fmt::format("buffer.{}", i), state.buffers[i]);
  forward_.restore(state);
  random_.set_state(archive.tensor("random"));
  if (archive.contains("given_epochs")) given_epochs_ = archive.number("given_epochs");
  if (average_.defined()) average_ = archive.tensor("average", layout.theta()).clone();
  if (parts_.damping) parts_.damping->load(archive.scope("damping"));
  for (size_t t = 0; t < orders_.size(); ++t)
    orders_[t].move_to(archive.integer(fmt::format("epoch.{}", t)),
                       archive.integer(fmt::format("position.{}", t)));
  auto counts = archive.numbers("counts");
  if (counts.size() != 7) fail_data("checkpoint: entry counts: must have 7 numbers");
  auto count = [&](size_t i) { return static_cast<int64_t>(counts[i]); };
  counters_ = {count(0), count(1), count(2), count(3), count(4), counts[5], counts[6]};
  parts_.direction->load(archive.scope("direction"), layout);
  restore_total(objective_.ledger(), archive.number("ledger"));
  if (!archive.flag("prepaid")) return;
  pending().equivalents = pending().seconds = 0;
  restore_total(objective_.ledger(), archive.number("ledger"));
}

}  // namespace osculant
