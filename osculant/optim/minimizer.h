#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "osculant/optim/stepper.h"
#include "osculant/optim/target.h"

namespace osculant {

// How much work a run may do.
struct Budget {
  enum class Unit { none, seconds, gradient_equivalents };
  Unit unit = Unit::none;
  double amount = 0;
  std::string str() const;  // "60 s", "500 ge", "none"
};
Budget seconds(double amount);               // spent in steps; evaluations are free
Budget gradient_equivalents(double amount);  // 1 ge is one gradient over the whole training set

class Minimizer;
struct Summary;

// What an evaluation found, on all training data, models in evaluation mode.
struct Evaluation {
  int64_t step = 0;                  // steps made before it
  double loss = unknown_number;      // the data terms: the training objective without regularisers
  std::vector<Metric> metrics = {};  // "loss" first, then what MinimizeOptions::metrics returned
  double epochs = 0, seconds = 0, gradient_equivalents = 0;  // of training, until now
};

// Looks on while a Minimizer works: progress lines, metric files, checkpoints. Exceptions end the run.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void on_start(const Minimizer& minimizer) {}
  virtual void on_step(const StepRecord& record, const Minimizer& minimizer) {}
  virtual void on_evaluation(const Evaluation& evaluation, const Minimizer& minimizer) {}
  virtual void on_end(const Summary& summary, const Minimizer& minimizer) {}
};

// When to stop: whatever comes first. At least one of budget, steps, epochs, target, gradient_norm is needed.
struct MinimizeOptions {
  Budget budget = {};        // seconds(60), gradient_equivalents(500)
  int64_t steps = 0;         // 0: no limit
  double epochs = 0;         // 0: no limit
  std::string target = {};   // "loss<=1e-4", "test.accuracy>=0.88"; empty: none
  double gradient_norm = 0;  // of the step's batch; 0: no limit

  // > 0: at the end the smallest eigenvalue of the Hessian of the whole objective is looked for, and the
  // summary says whether it is >= -require_psd. Where it is not and the run has ended by gradient_norm, one
  // step is made along its eigenvector and the run goes on (Royer, O'Neill & Wright 2020).
  double require_psd = 0;
  double psd_failure_probability = 0.01;  // that an eigenvalue below -require_psd was missed

  uint64_t seed = 0;
  int64_t batch_size = 0;  // 0: the data source's; full_batch
  Schedule schedule = {};  // these five as in StepperOptions
  std::vector<ParameterRule> learning_rates = {};
  double clip_gradient_norm = 0;
  double sharpness_radius = 0;
  double averaging = 0;          // evaluations, and theta after the run, are those of the average
  int64_t evaluate_every = 0;    // steps; 0: every step on the full batch, every epoch otherwise
  int64_t max_failures = 10;     // steps in a row that were not finite
  int64_t max_rejections = 100;  // steps in a row that were refused, for these or other reasons
  std::function<std::vector<Metric>()> metrics = {};  // evaluated with the loss, models in evaluation mode
  std::vector<std::shared_ptr<Observer>> observers = {};
  void check() const;
};

enum class StopReason {
  target,             // reached
  steps,              // all made
  epochs,             // all made
  budget,             // spent
  gradient_norm,      // small enough
  stalled,            // too many steps in a row refused
  numerical_failure,  // too many steps in a row not finite; the last good parameters are back
  interrupted,        // a signal, or request_interrupt()
};
std::string to_string(StopReason reason);  // "numerical_failure"

struct Summary {
  std::string method;
  StopReason reason = StopReason::steps;
  std::string message;          // the reason in words, with the numbers that were compared
  std::optional<bool> reached;  // the target; absent without one
  int64_t parameters = 0;       // n
  int64_t examples = 0;         // N
  int64_t steps = 0, rejected_steps = 0, failed_steps = 0;  // refused; of these not finite
  double epochs = 0;
  double initial_loss = unknown_number, final_loss = unknown_number;
  std::vector<Metric> final_metrics;
  double gradient_norm = unknown_number;  // at the end, of the step's batch; NaN when nobody computed it
  double seconds = 0;                     // in steps
  double evaluation_seconds = 0;          // beside them
  double gradient_equivalents = 0;

  // What require_psd found at the end, of the parameters the run leaves; absent without it, and after a
  // numerical failure or an interruption. Its vector is left out.
  std::optional<MinimumEigenvalue> smallest_eigenvalue;
  int64_t negative_curvature_steps = 0;  // made along eigenvectors

  std::string brief_report() const;  // one line
  std::string full_report() const;   // a table
};

// "certified: smallest eigenvalue >= -0.001 except with probability 0.004, ...", "not certified: ...",
// "unknown: ...".
std::string verdict_in_words(const MinimumEigenvalue& smallest);

// The loop round a Stepper: stop rules, evaluations, observers. Trouble with numbers is a stop reason.
class Minimizer {
 public:
  Minimizer(Objective objective, const Method& method, MinimizeOptions options);

  Summary run();

  // A slice of the run: steps until they have spent that much since the call, at least one; Budget{}: no
  // limit. The summary once the run has ended, nothing until then. Slices, whatever their sizes, give the
  // bits of run().
  std::optional<Summary> advance(const Budget& slice);

  const Stepper& stepper() const { return stepper_; }
  const MinimizeOptions& options() const { return options_; }
  bool evaluation_due() const;  // after the step just made
  const Evaluation& last_evaluation() const { return last_; }

  // Everything that a run which resumes needs; call load before run.
  void save(Archive& archive) const;
  void load(const Archive& archive);

 private:
  struct Stop {
    StopReason reason;
    std::string message;
  };
  std::optional<Stop> stop_before_step();
  std::optional<Stop> stop_after_step() const;
  std::optional<Stop> target_reached() const;
  std::optional<Stop> leave_saddle(Stop stop);
  void look_for_negative_curvature();
  void watch(const StepRecord& record);
  void evaluate();
  bool averages() const { return stepper_.average().defined(); }
  double training_loss();
  std::optional<Stop> loop(const Budget& slice);
  Summary summarize(const Stop& stop);

  MinimizeOptions options_;
  Stepper stepper_;
  std::optional<Target> target_;
  Evaluation last_;
  bool evaluated_ = false;
  bool started_ = false;  // and not ended
  double initial_loss_ = unknown_number;
  double evaluation_seconds_ = 0;
  std::optional<MinimumEigenvalue> smallest_;  // at theta as it is
  int64_t negative_curvature_steps_ = 0;
};

// Trains the objective's parameters, in place, from where they are.
Summary minimize(Objective objective, const Method& method, const MinimizeOptions& options);

}  // namespace osculant
