#include "osculant/study/race.h"

#include <ATen/Context.h>
#include <ATen/core/Generator.h>
#include <c10/util/Exception.h>

#include <memory>
#include <mutex>
#include <utility>

#include "osculant/base/error.h"
#include "osculant/base/interrupt.h"

namespace osculant {
namespace {

constexpr size_t longest_trajectory = 1000;

// Every evaluation at first, then every second, every fourth, ...
class Trajectory : public Observer {
 public:
  void on_evaluation(const Evaluation& evaluation, const Minimizer&) override {
    last = evaluation;
    if (seen_++ % stride_ != 0) return;
    points_.push_back(evaluation);
    if (points_.size() <= longest_trajectory) return;
    for (size_t i = 1; 2 * i < points_.size(); ++i) points_[i] = points_[2 * i];
    points_.resize((points_.size() + 1) / 2);
    stride_ *= 2;
  }

  std::vector<Evaluation> points() const {
    auto all = points_;
    if (!all.empty() && all.back().step != last.step) all.push_back(last);
    return all;
  }

  Evaluation last;

 private:
  std::vector<Evaluation> points_;
  size_t seen_ = 0, stride_ = 1;
};

class Runner {
 public:
  explicit Runner(Contestant contestant)
      : label_(std::move(contestant.label)),
        trajectory_(std::make_shared<Trajectory>()),
        generator_(at::globalContext().defaultGenerator(contestant.objective.layout().device())) {
    contestant.options.observers.push_back(trajectory_);
    Turn turn(*this, contestant.options.seed);
    guarded([&] {
      minimizer_ = std::make_unique<Minimizer>(std::move(contestant.objective), contestant.method,
                                               std::move(contestant.options));
    });
  }

  bool ended() const { return !minimizer_; }
  bool interrupted() const { return result_.summary && result_.summary->reason == StopReason::interrupted; }

  void advance(double slice) {
    Turn turn(*this);
    guarded([&] { result_.summary = minimizer_->advance(seconds(slice)); });
    if (!minimizer_) return;
    note_standing();
    if (!result_.summary) return;
    standing_.end = to_string(result_.summary->reason);
    minimizer_.reset();  // its graphs and the method's memory
  }

  RaceResult result() const {
    auto result = result_;
    result.trajectory = trajectory_->points();
    return result;
  }

  Standing standing() const {
    auto standing = standing_;
    standing.label = label_;
    standing.last = trajectory_->last;
    return standing;
  }

 private:
  // While it lives, libtorch's default generator is this contestant's.
  class Turn {
   public:
    explicit Turn(Runner& runner, std::optional<uint64_t> seed = {}) : runner_(runner) {
      std::lock_guard lock(runner.generator_.mutex());
      outside_ = runner.generator_.get_state();
      if (seed)
        runner.generator_.set_current_seed(*seed);
      else
        runner.generator_.set_state(runner.generator_state_);
    }
    ~Turn() {
      std::lock_guard lock(runner_.generator_.mutex());
      runner_.generator_state_ = runner_.generator_.get_state();
      runner_.generator_.set_state(outside_);
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    Runner& runner_;
    Tensor outside_;
  };

  template <class Work>
  void guarded(Work work) {
    try {
      return work();
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::internal || error.kind() == ErrorKind::write) throw;
      result_.failure = error.what();
    } catch (const c10::Error& error) {
      result_.failure = error.what_without_backtrace();
    }
    if (minimizer_) note_standing();
    standing_.end = "failure";
    minimizer_.reset();
  }

  void note_standing() {
    const Stepper& stepper = minimizer_->stepper();
    standing_.steps = stepper.steps();
    standing_.seconds = stepper.seconds();
    standing_.gradient_equivalents = stepper.gradient_equivalents();
  }

  std::string label_;
  std::shared_ptr<Trajectory> trajectory_;
  at::Generator generator_;
  Tensor generator_state_;
  std::unique_ptr<Minimizer> minimizer_;
  Standing standing_;
  RaceResult result_;
};

}  // namespace

void RaceOptions::check() const {
  require_positive("slice", slice);
}

std::vector<RaceResult> race(std::vector<Contestant> contestants, const RaceOptions& options) {
  options.check();
  std::vector<std::unique_ptr<Runner>> runners;
  for (auto& contestant : contestants) runners.push_back(std::make_unique<Runner>(std::move(contestant)));
  auto tell = [&](size_t i) {
    if (options.on_end && runners[i]->ended() && !runners[i]->interrupted())
      options.on_end(i, runners[i]->result());
    if (!options.on_turn) return;
    std::vector<Standing> standings;
    for (const auto& runner : runners) standings.push_back(runner->standing());
    options.on_turn(standings);
  };
  for (size_t i = 0; i < runners.size(); ++i)
    if (runners[i]->ended()) tell(i);
  for (bool running = true; running;) {
    running = false;
    for (size_t i = 0; i < runners.size(); ++i) {
      if (runners[i]->ended()) continue;
      runners[i]->advance(options.slice);
      running = running || !runners[i]->ended();
      tell(i);
    }
  }
  std::vector<RaceResult> results;
  for (const auto& runner : runners) results.push_back(runner->result());
  return results;
}

}  // namespace osculant
