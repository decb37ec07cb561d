#include "osculant/optim/step_rule.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <cmath>

#include "osculant/base/error.h"
#include "osculant/linop/vector_space.h"
#include "osculant/objective/linearization.h"

namespace osculant {

Trials::Trials(Objective objective, const ParameterSnapshot& start, double start_value, Tensor gradient,
               const ForwardState& state, const ForwardState::Snapshot& before)
    : objective_(std::move(objective)),
      start_(start),
      start_value_(start_value),
      gradient_(std::move(gradient)),
      state_(state),
      before_(before),
      after_(state.snapshot()) {}

double Trials::slope(const Tensor& direction) const {
  return VectorSpace(direction.numel(), direction.options()).dot(gradient_, direction);
}

template <class Function>
auto Trials::at(const Tensor& direction, double scale, Function f) {
  struct Return {
    Trials& trials;
    ~Return() {
      trials.objective_.layout().restore(trials.start_);
      trials.state_.restore(trials.after_);
    }
  } guard{*this};
  objective_.layout().add(direction, scale);
  state_.restore_generator(before_);
  return f();
}

double Trials::value(const Tensor& direction, double scale) {
  return at(direction, scale, [&] { return objective_.value(); });
}

Tensor Trials::outputs(Linearization& here, const Tensor& direction, double scale) {
  return at(direction, scale, [&] { return here.outputs_now(); });
}

LinePoint Trials::evaluate(const Tensor& direction, double scale) {
  return at(direction, scale, [&] {
    kept_ = {objective_.linearize(Needs{.gradient = true}), objective_.layout().snapshot(), scale};
    const Tensor& g = kept_.linearization->gradient();
    return LinePoint{scale, kept_.linearization->value(),
                     VectorSpace(g.numel(), g.options()).dot(g, direction)};
  });
}

void BacktrackingOptions::check() const {
  require_positive("initial", initial);
  require_between("decrease", decrease, 0, 0.5);
  require_positive("factor", factor);
  if (!(factor < 1)) fail_option("factor", fmt::format("{}", factor), "< 1");
  require_at_least("max_backtracks", static_cast<double>(max_backtracks), 0);
}

namespace {

StepOutcome taken(Tensor displacement, double loss_after = unknown_number, double rho = unknown_number) {
  StepOutcome outcome;
  outcome.accepted = true;
  outcome.displacement = std::move(displacement);
  outcome.loss_after = loss_after;
  outcome.rho = rho;
  return outcome;
}

StepOutcome refused(std::string reason, double rho = unknown_number) {
  StepOutcome outcome;
  outcome.reason = std::move(reason);
  outcome.rho = rho;
  return outcome;
}

// Both changes below the rounding of f: neither contradicts the other (Conn, Gould & Toint 2000, 17.4.2).
bool unseen(const Trials& trials, const Tensor& p, double value, double predicted) {
  double rounding = 10 * VectorSpace(1, p.options()).epsilon() * std::abs(trials.start_value());
  return std::abs(value - trials.start_value()) <= rounding && std::abs(predicted) <= rounding;
}

Tensor scaled(const Tensor& p, double scale) {
  return scale == 1 ? p : p * scale;
}

// rho = (f(theta + p) - f(theta)) / (m(p) - m(0)); a value that is not finite is as bad as can be.
double gain(double after, double before, double predicted) {
  if (!std::isfinite(after)) return -std::numeric_limits<double>::infinity();
  return predicted < 0 ? (after - before) / predicted : unknown_number;
}

class FixedRate : public StepRule {
 public:
  explicit FixedRate(double rate) : rate_(rate) {}
  StepOutcome decide(Trials&, const Step& step) override { return taken(scaled(step.displacement, rate_)); }
  bool takes_all() const override { return true; }

 private:
  double rate_;
};

class Backtracking : public StepRule {
 public:
  explicit Backtracking(const BacktrackingOptions& options) : options_(options) {}

  StepOutcome decide(Trials& trials, const Step& step) override {
    auto [p, predicted, value] = best_iterate(trials, step);
    double rho = gain(value, trials.start_value(), predicted);
    double slope = trials.slope(p);
    if (!(slope < 0)) return refused(fmt::format("not a direction of descent: g'p = {:.3g}", slope), rho);
    double scale = options_.initial;
    if (unseen(trials, p, value, predicted)) return taken(scaled(p, scale), value, 1);
    for (int64_t i = 0;; ++i) {
      if (value <= trials.start_value() + options_.decrease * scale * slope)
        return taken(scaled(p, scale), value, rho);
      if (i == options_.max_backtracks) break;
      scale *= options_.factor;
      value = trials.value(p, scale);
    }
    return refused(fmt::format("no decrease down to {:.2g} of the step", scale), rho);
  }

 private:
  struct Chosen {
    Tensor displacement;
    double predicted_change;
    double value;
  };

  Chosen best_iterate(Trials& trials, const Step& step) const {
    Chosen best{step.displacement, step.predicted_change, trials.value(step.displacement, options_.initial)};
    for (auto iterate = step.earlier.rbegin(); iterate != step.earlier.rend(); ++iterate) {
      double value = trials.value(iterate->displacement, options_.initial);
      if (!(value < best.value) && std::isfinite(best.value)) break;
      best = {iterate->displacement, iterate->predicted_change, value};
    }
    return best;
  }

  BacktrackingOptions options_;
};

class GainRatio : public StepRule {
 public:
  explicit GainRatio(double minimum) : minimum_(minimum) {}

  StepOutcome decide(Trials& trials, const Step& step) override {
    double start = trials.start_value(), value = trials.value(step.displacement);
    bool nothing = unseen(trials, step.displacement, value, step.predicted_change);
    double rho = nothing ? 1 : gain(value, start, step.predicted_change);
    if (rho >= minimum_) return taken(step.displacement, value, rho);
    return refused(fmt::format("gain ratio {:.3g} < {:.3g}", rho, minimum_), rho);
  }

 private:
  double minimum_;
};

class CurvatureSearch : public StepRule {
 public:
  explicit CurvatureSearch(const CurvatureSearchOptions& options) : options_(options) {}

  StepOutcome decide(Trials& trials, const Step& step) override {
    const Tensor& p = step.displacement;
    double start = trials.start_value(), slope = trials.slope(p);
    double curvature = 2 * (step.predicted_change - slope);  // p'Bp
    double bend = curvature < 0 ? curvature : 0;
    if (!(slope < 0 || (slope == 0 && bend < 0)))
      return refused(fmt::format("not a direction of descent: g'p = {:.3g}", slope));
    double rounding = 10 * VectorSpace(1, p.options()).epsilon() * std::abs(start);
    auto enough = [&](double scale, double value) {
      double promised = scale * slope + scale * scale * bend / 2;
      return value <= start + options_.decrease * promised + rounding;
    };
    double scale = 1, value = trials.value(p);
    double rho = gain(value, start, step.predicted_change);
    int64_t trial = 1;
    if (enough(scale, value)) {
      for (; bend < 0 && trial < options_.max_trials; ++trial) {
        double further = scale / options_.factor, lower = trials.value(p, further);
        if (!(lower < value && enough(further, lower))) break;
        scale = further;
        value = lower;
      }
      return taken(scaled(p, scale), value, rho);
    }
    for (; trial < options_.max_trials; ++trial) {
      scale *= options_.factor;
      value = trials.value(p, scale);
      if (enough(scale, value)) return taken(scaled(p, scale), value, rho);
    }
    return refused(fmt::format("no decrease down to {:.2g} of the step", scale), rho);
  }

 private:
  CurvatureSearchOptions options_;
};

class StrongWolfe : public StepRule {
 public:
  explicit StrongWolfe(const StrongWolfeOptions& options) : options_(options) {}

  StepOutcome decide(Trials& trials, const Step& step) override {
    LinePoint start{0, trials.start_value(), trials.slope(step.displacement)};
    auto options = options_;
    options.rounding = std::max(options.rounding, 10 * VectorSpace(1, step.displacement.options()).epsilon());
    auto phi = [&](double scale) { return trials.evaluate(step.displacement, scale); };
    auto found = strong_wolfe(phi, start, 1.0, options);
    if (!found.usable()) return refused(to_string(found.stop));
    if (trials.kept().scale != found.point.step) trials.evaluate(step.displacement, found.point.step);
    auto outcome = taken(scaled(step.displacement, found.point.step), found.point.value);
    outcome.new_gradient = trials.kept().linearization->gradient();
    outcome.reason = found.stop == LineSearchStop::strong_wolfe ? "" : to_string(found.stop);
    return outcome;
  }

 private:
  StrongWolfeOptions options_;
};

}  // namespace

std::unique_ptr<StepRule> fixed_rate(double rate) {
  require_positive("learning_rate", rate);
  return std::make_unique<FixedRate>(rate);
}

std::unique_ptr<StepRule> backtracking(const BacktrackingOptions& options) {
  options.check();
  return std::make_unique<Backtracking>(options);
}

std::unique_ptr<StepRule> gain_ratio(double minimum) {
  require_between("minimum gain ratio", minimum, 0, 1);
  return std::make_unique<GainRatio>(minimum);
}

void CurvatureSearchOptions::check() const {
  require_between("decrease", decrease, 0, 0.5);
  require_positive("factor", factor);
  if (!(factor < 1)) fail_option("factor", fmt::format("{}", factor), "< 1");
  require_at_least("max_trials", static_cast<double>(max_trials), 1);
}

std::unique_ptr<StepRule> curvature_search(const CurvatureSearchOptions& options) {
  options.check();
  return std::make_unique<CurvatureSearch>(options);
}

std::unique_ptr<StepRule> strong_wolfe_rule(const StrongWolfeOptions& options) {
  options.check();
  return std::make_unique<StrongWolfe>(options);
}

}  // namespace osculant
