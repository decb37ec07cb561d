#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "osculant/objective/weight_decay.h"
#include "osculant/optim/data_order.h"
#include "osculant/optim/method.h"
#include "osculant/optim/schedule.h"
#include "osculant/spectrum/minimum_eigenvalue.h"

namespace osculant {

class Archive;

// As a batch size: every step sees all examples.
inline constexpr int64_t full_batch = std::numeric_limits<int64_t>::max();

struct StepperOptions {
  // Examples a step. 0: those of the objective's data source; full_batch, or any size >= N: all.
  int64_t batch_size = 0;
  uint64_t seed = 0;  // of the data order and of whatever the method draws

  // For methods that take their steps as they are (a fixed learning rate); refused for those whose line
  // search or gain ratio finds the length.
  Schedule schedule = {};
  std::vector<ParameterRule> learning_rates =
      {};  // the last matching glob's value times the method's own rate

  double clip_gradient_norm = 0;  // directions follow g min(1, clip / norm(g)); 0: as it is
  // > 0: sharpness-aware steps (Foret et al. 2021): directions follow the gradient of the step's batch at
  // theta + rho g / norm(g), rho this radius, for one gradient more a step. For methods that take their steps
  // as they are; refused for the others.
  double sharpness_radius = 0;
  double averaging = 0;  // in (0, 1]: average <- average + max(1 - averaging, 1/t) (theta - average) after
                         // step t, t = 1 for the first; at 1 the mean of all iterates. 0: none
  void check() const;
};

// One step of a method on an objective, again and again. Owns everything that a run which resumes needs:
// theta (through the objective's layout), the model's buffers, the method's state, damping, random streams,
// the data order and the counters.
//
// A value, gradient or step that is not finite never reaches the parameters: the step is skipped, and
// counted. Regularisers that draw or carry something along go on with each step that is taken; the batch of a
// step has those of the stepper's objective.
class Stepper {
 public:
  Stepper(Objective objective, const Method& method, const StepperOptions& options = {});
  ~Stepper();

  // Takes the next batch and makes one step, or says in the record why not.
  StepRecord step();

  // One step on a batch of the caller's: the objective over other data, from objective().on(batch). The data
  // order takes no part. `divisible`: the batch may be split by methods that look at a part of it.
  StepRecord step(const Objective& batch, bool divisible = true);

  // One step along a unit vector v with v'Hv = curvature < 0, downhill, by curvature_search. Counted and
  // recorded as any other; the method does not take part.
  StepRecord follow(const Tensor& v, double curvature);

  // Of the Hessian of the whole objective at theta. Charged to no step; leaves buffers and dropout alone.
  MinimumEigenvalue minimum_eigenvalue(const MinimumEigenvalueOptions& options);

  // Value and gradient norm of the next step's batch at theta. The next step uses the work, and is charged
  // for it. On the full batch these are those of the objective.
  struct Point {
    double value;
    double gradient_norm;
    bool finite;            // and the gradient's squares fit its dtype
    bool is_training_loss;  // no regularisers, all examples, and the pass left buffers and dropout alone
  };
  Point inspect();
  // The training loss at theta where the step's own work tells it: on the full batch, without regularisers,
  // and for models whose forward pass leaves no traces. Inspects where that is what it takes.
  std::optional<double> known_loss();
  std::optional<double> known_gradient_norm() const;  // where inspect, or the last step, has found it
  // Forgets what inspect computed, and what it did to buffers and random numbers.
  void release();

  const Objective& objective() const { return objective_; }
  const std::string& method_name() const { return method_name_; }
  bool takes_full_batch() const { return orders_.empty() && !given_; }
  int64_t batch_size() const;  // examples of a full-sized step

  int64_t steps() const { return counters_.steps; }
  double epochs() const;
  double seconds() const { return counters_.seconds; }  // in steps, over all sessions of a resumed run
  double gradient_equivalents() const { return counters_.gradient_equivalents; }
  int64_t consecutive_failures() const { return counters_.failures; }      // steps not finite, in a row
  int64_t consecutive_rejections() const { return counters_.rejections; }  // steps refused, in a row
  int64_t rejected_steps() const { return counters_.rejected; }
  int64_t failed_steps() const { return counters_.failed; }

  // The last step's batch, where a number of that step was not finite.
  const std::optional<Objective>& failed_batch() const { return failed_batch_; }

  // theta as it was when value and gradient were last finite.
  void restore_last_good();

  const Tensor& average() const { return average_; }  // of the iterates, [n]; undefined without averaging

  // A Stepper made with the same objective, method and options goes on to the same bits after load.
  void save(Archive& archive) const;
  void load(const Archive& archive);

 private:
  struct Counters {
    int64_t steps = 0, failures = 0, rejections = 0, failed = 0, rejected = 0;
    double seconds = 0, gradient_equivalents = 0;
  };
  struct Pending;

  Objective batch_objective() const;
  int64_t batch_examples() const;
  Pending& pending();
  StepRecord make(const std::function<void(StepRecord&)>& work);
  void attempt(StepRecord& record);
  Tensor uphill_gradient(const Pending& here) const;
  StepOutcome try_once(StepRecord& record, const StepContext& context);
  Step propose(const StepContext& context);
  void check_noise(StepRecord& record, const StepContext& context);
  bool vanishes(const StepOutcome& outcome) const;
  void take(StepRecord& record, const Step& step, const StepOutcome& outcome, const Trials& trials);
  void apply(const Step& step, const StepOutcome& outcome, const Trials& trials);
  void finish(StepRecord& record, double seconds, double equivalents);

  Objective objective_;
  StepperOptions options_;
  std::string method_name_;
  MethodParts parts_;
  RandomStream random_;
  ForwardState forward_;
  std::vector<DataOrder> orders_;  // one a term; empty on the full batch
  Counters counters_;
  std::shared_ptr<Pending> pending_;
  std::optional<Objective> given_;  // the caller's batch, while a step is made on it
  std::optional<Objective> failed_batch_;
  bool divisible_ = true;
  double given_epochs_ = 0;  // in batches of the caller's
  std::optional<ParameterSnapshot> last_good_;
  Tensor rates_;                       // [n], where groups have learning rates of their own
  Tensor average_;                     // [n]
  bool traceless_ = true;              // no forward pass has changed buffers or drawn dropout masks yet
  double loss_here_ = unknown_number;  // the training loss, at the epoch of theta below
  int64_t loss_epoch_ = -1;
};

// theta at the average of the iterates, where there is one, for as long as it lives.
class AtAverage {
 public:
  explicit AtAverage(const Stepper& stepper) : layout_(stepper.objective().layout()) {
    if (!stepper.average().defined()) return;
    here_ = layout_.snapshot();
    layout_.assign(stepper.average());
  }
  ~AtAverage() {
    if (here_) layout_.restore(*here_);
  }
  AtAverage(const AtAverage&) = delete;
  AtAverage& operator=(const AtAverage&) = delete;

 private:
  ParameterLayout& layout_;
  std::optional<ParameterSnapshot> here_;
};

}  // namespace osculant
