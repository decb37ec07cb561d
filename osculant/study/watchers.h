#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "osculant/base/stopwatch.h"
#include "osculant/io/archive.h"
#include "osculant/io/line_file.h"
#include "osculant/optim/minimizer.h"
#include "osculant/study/result_directory.h"
#include "osculant/study/training_watch.h"

namespace osculant {

// metrics.jsonl: a line a step, in the order of the steps. What an evaluation after the step found stands in
// the step's line.
class MetricsLog : public Observer {
 public:
  MetricsLog(const std::string& path, LineFile::Mode mode);
  void on_step(const StepRecord& record, const Minimizer& minimizer) override;
  void on_evaluation(const Evaluation& evaluation, const Minimizer& minimizer) override;
  void on_end(const Summary& summary, const Minimizer& minimizer) override;

  void flush();  // every line so far is in the file
  void sync();   // and on the disk
  int64_t size() const { return file_.size(); }
  void truncate(int64_t size) { file_.truncate(size); }

 private:
  LineFile file_;
  std::string line_;  // of the last step, without its closing brace; empty when it is written
};

// best.safetensors: the weights of the evaluation where the watched metric was best so far.
class BestWeights : public Observer {
 public:
  BestWeights(std::string path, std::string metric, bool higher_is_better);
  void on_evaluation(const Evaluation& evaluation, const Minimizer& minimizer) override;
  std::optional<double> best() const { return best_; }
  void set_best(double best) { best_ = best; }

 private:
  std::string path_, metric_;
  bool higher_is_better_;
  std::optional<double> best_;
};

// checkpoints/step-N.safetensors: every 30 s of work, or every so many steps, and when the run is
// interrupted. Each is written whole or not at all; the newest `keep` of them are kept, so that a damaged one
// costs no more than the way to the one before.
class Checkpoints : public Observer {
 public:
  Checkpoints(std::string folder, int64_t every_steps, int64_t keep, std::shared_ptr<MetricsLog> log,
              std::shared_ptr<BestWeights> best, std::shared_ptr<TrainingWatch> watch = nullptr);

  // Loads the newest checkpoint that can be read into the minimizer, and takes back the lines of
  // metrics.jsonl written after it. False when there is none.
  bool resume(Minimizer& minimizer);

  void on_step(const StepRecord& record, const Minimizer& minimizer) override;
  void on_evaluation(const Evaluation& evaluation, const Minimizer& minimizer) override;
  void on_end(const Summary& summary, const Minimizer& minimizer) override;

 private:
  bool due(const Minimizer& minimizer) const;
  void save(const Minimizer& minimizer);

  std::string folder_;
  int64_t every_steps_, keep_;
  std::shared_ptr<MetricsLog> log_;
  std::shared_ptr<BestWeights> best_;
  std::shared_ptr<TrainingWatch> watch_;
  Stopwatch since_last_;
};

// One line after each step: loss, rate, what is left.
class ProgressWatcher : public Observer {
 public:
  explicit ProgressWatcher(std::function<void(const std::string&)> show) : show_(std::move(show)) {}
  void on_step(const StepRecord& record, const Minimizer& minimizer) override;

 private:
  std::function<void(const std::string&)> show_;
};

}  // namespace osculant
