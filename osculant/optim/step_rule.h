#pragma once

#include <memory>
#include <string>

#include "osculant/optim/forward_state.h"
#include "osculant/optim/line_search.h"
#include "osculant/optim/step.h"

namespace osculant {

// The step's batch seen along a direction. Every evaluation moves theta, evaluates, and brings theta, buffers
// and random numbers back; none of them throws for numbers that are not finite.
class Trials {
 public:
  // `start`: theta now. `before`: the forward state the gradient was computed from.
  Trials(Objective objective, const ParameterSnapshot& start, double start_value, Tensor gradient,
         const ForwardState& state, const ForwardState::Snapshot& before);

  double start_value() const { return start_value_; }
  const Tensor& gradient() const { return gradient_; }  // [n], at the start
  double slope(const Tensor& direction) const;          // g'p

  double value(const Tensor& direction, double scale = 1);  // f(theta + scale p)

  // The data terms' outputs [m] at theta + scale p, of the linearisation that `here` is.
  Tensor outputs(Linearization& here, const Tensor& direction, double scale);

  // Value and slope, from a linearization that is kept, with the point's theta, until the next call.
  LinePoint evaluate(const Tensor& direction, double scale);
  struct Kept {
    std::shared_ptr<Linearization> linearization;
    ParameterSnapshot point;
    double scale = 0;
  };
  const Kept& kept() const { return kept_; }

 private:
  template <class Function>
  auto at(const Tensor& direction, double scale, Function f);

  Objective objective_;
  const ParameterSnapshot& start_;
  double start_value_;
  Tensor gradient_;
  const ForwardState& state_;
  const ForwardState::Snapshot& before_;
  ForwardState::Snapshot after_;
  Kept kept_;
};

// How far to go along a proposed step, and whether to go at all.
class StepRule {
 public:
  virtual ~StepRule() = default;
  virtual StepOutcome decide(Trials& trials, const Step& step) = 0;
  // Whether steps are taken as they are proposed, so that their length is the user's to scale.
  virtual bool takes_all() const { return false; }
};

// theta + rate * p, whatever comes of it.
std::unique_ptr<StepRule> fixed_rate(double rate = 1);

struct BacktrackingOptions {
  double initial = 1;      // first scale tried
  double decrease = 1e-2;  // c: f(theta + a p) <= f(theta) + c a g'p (Armijo 1966)
  double factor = 0.8;     // a <- factor a
  int64_t max_backtracks = 60;
  void check() const;
};
// Walks back over the solver's earlier iterates while they are better, then shortens until Armijo's condition
// holds (Martens 2010, sections 4.6 and 4.7); rho belongs to the iterate chosen, before it is shortened.
// Rejects when no scale will do. Where what the step promises and does are both below the rounding of f, it
// is taken, and rho is 1: on a plateau lambda falls until steps can be seen.
std::unique_ptr<StepRule> backtracking(const BacktrackingOptions& options = {});

// Takes the step as it is when it does as the model promised: rho >= minimum.
std::unique_ptr<StepRule> gain_ratio(double minimum = 1e-4);

struct CurvatureSearchOptions {
  double decrease = 1e-4;  // c of the condition below
  double factor = 0.5;     // a <- factor a until it holds; along negative curvature a / factor while f falls
  int64_t max_trials = 60;
  void check() const;
};
// For steps that may follow negative curvature: f(theta + a p) <= f(theta) + c (a g'p + a^2 min(p'Bp, 0) /
// 2), p'Bp from the step's slope and predicted change (Gould, Lucidi, Roma & Toint 2000, eq. 2.6). Starts at
// a = 1; shortens until it holds; where p'Bp < 0, a direction and no length, lengthens as long as f falls.
// Changes of f below its rounding count as none, so that steps near the end are taken.
std::unique_ptr<StepRule> curvature_search(const CurvatureSearchOptions& options = {});

// A point that satisfies the strong Wolfe conditions, or at least sufficient decrease; else rejects.
std::unique_ptr<StepRule> strong_wolfe_rule(const StrongWolfeOptions& options = {});

}  // namespace osculant
