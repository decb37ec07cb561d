#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "osculant/base/random.h"
#include "osculant/diagnose/curvature_probe.h"
#include "osculant/diagnose/gradient_flow.h"
#include "osculant/diagnose/step_trend.h"
#include "osculant/optim/minimizer.h"
#include "osculant/study/stability_limit.h"
#include "osculant/study/watch_record.h"

namespace osculant {

struct TrainingWatchOptions {
  double share = 0.05;  // of the training's gradient equivalents that watching may spend, at any time
  uint64_t seed = 0;
  StabilityLimit limit = {std::nan(""), "the method is not known"};  // stability_limit(...)
  Schedule schedule = {};  // the limit is that of the learning rate at a step
  bool scaled = false;     // steps are clipped, or rates differ by group: the limit does not apply
  void check() const;
};

// Watches a training from beside it: whether signals get through the layers, whether numbers grow towards the
// end of the number format, whether the step is beyond what curvature allows, and why a loss stands still
// (docs/watching.md). Says so once, through log_warning, in words with the numbers they rest on.
//
// Draws from streams of its own, counts its work in a ledger of its own, and leaves theta, buffers and
// generators as it found them: the training has the bits that it has unwatched. Everything but the steps' own
// numbers is looked for on a sample, and only as the allowance permits. An Observer of a Minimizer; in a loop
// of one's own
//
//   TrainingWatch watch(objective, stepper.batch_size(), {.limit = stability_limit(train)});
//   watch.see(stepper.step(), stepper);
class TrainingWatch : public Observer {
 public:
  // `objective`: what is trained; with one term of outputs all is watched, otherwise the steps' own numbers.
  TrainingWatch(const Objective& objective, int64_t batch_size, TrainingWatchOptions options = {});
  ~TrainingWatch() override;

  void on_step(const StepRecord& record, const Minimizer& minimizer) override {
    see(record, minimizer.stepper());
  }
  void on_end(const Summary& summary, const Minimizer& minimizer) override;
  void see(const StepRecord& record, const Stepper& stepper);

  const WatchRecord& record() const { return found_; }

  void save(Archive& archive) const;
  void load(const Archive& archive);

 private:
  struct Quiet;  // the objective's models as they were, when it ends

  double spent() const;
  bool affords(double gradient_equivalents) const;
  double share_of(int64_t examples) const;
  double flow_price() const;
  double curvature_price(int64_t steps) const;

  void look_at_growth(const StepRecord& record);
  void look_at_failure(const StepRecord& record, const Stepper& stepper);
  void look_at_flow(int64_t step);
  void look_at_curvature(int64_t step);
  void look_when_due(int64_t step);
  void set_anchor(int64_t step);
  bool plateau_suspected(int64_t step) const;
  double plateau_price() const;
  void look_at_plateau(const StepRecord& record);
  bool loss_is_stuck() const;
  void warn(WatchWarning warning);
  void summarise(double training_equivalents);

  Objective objective_;  // with a ledger of its own
  TrainingWatchOptions options_;
  int64_t batch_size_;
  ExampleParts parts_;
  StepTrend trend_;
  WatchRecord found_;
  double training_equivalents_ = 0;  // spent by the training until now
  double spent_before_ = 0;          // by watching, in earlier sessions of a resumed run
  double product_price_;             // seen at the last look
  int64_t next_flow_ = 1, next_curvature_ = 1, next_plateau_ = 0, looks_ = 0;
  int64_t unstable_in_a_row_ = 0;
  Tensor steepest_;  // [n], where curvature was largest at the last look
  Tensor anchor_;    // [n], theta when the loss's window began
  int64_t anchor_step_ = 0;
};

}  // namespace osculant
