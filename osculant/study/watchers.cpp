#include "osculant/study/watchers.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "osculant/base/error.h"
#include "osculant/base/log.h"
#include "osculant/base/text.h"
#include "osculant/io/safetensors.h"
#include "osculant/io/single_writer.h"
#include "osculant/study/checkpoint_files.h"

namespace osculant {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr double checkpoint_seconds = 30;

Json to_record(const StepRecord& step) {
  Json record{{"step", step.step},
              {"epochs", step.epochs},
              {"seconds", step.seconds},
              {"gradient_equivalents", step.gradient_equivalents},
              {"examples", step.examples},
              {"accepted", step.accepted},
              {"finite", step.finite},
              {"loss_before", step.loss_before},
              {"loss_after", step.loss_after},
              {"gradient_norm", step.gradient_norm},
              {"step_norm", step.step_norm},
              {"rho", step.rho},
              {"damping", step.damping},
              {"attempts", step.attempts},
              {"solver_iterations", step.solver_iterations}};
  if (!step.solver_stop.empty()) record["solver_stop"] = step.solver_stop;
  if (!step.note.empty()) record["note"] = step.note;
  return record;
}

// Seconds left until the nearest of the limits, judged by the pace so far; NaN when no limit tells.
double seconds_left(const StepRecord& record, const MinimizeOptions& options) {
  double left = std::nan("");
  auto limit = [&](double done, double all) {
    if (done > 0 && all > 0) left = std::fmin(left, record.seconds * std::max(all - done, 0.0) / done);
  };
  limit(static_cast<double>(record.step), static_cast<double>(options.steps));
  limit(record.epochs, options.epochs);
  if (options.budget.unit == Budget::Unit::seconds) limit(record.seconds, options.budget.amount);
  if (options.budget.unit == Budget::Unit::gradient_equivalents)
    limit(record.gradient_equivalents, options.budget.amount);
  return left;
}

}  // namespace

MetricsLog::MetricsLog(const std::string& path, LineFile::Mode mode) : file_(path, mode) {}

void MetricsLog::flush() {
  if (!line_.empty()) file_.append(line_ + "}");
  line_.clear();
}

void MetricsLog::sync() {
  flush();
  file_.sync();
}

void MetricsLog::on_step(const StepRecord& record, const Minimizer&) {
  flush();
  line_ = to_record(record).dump(-1, ' ', false, Json::error_handler_t::replace);
  line_.pop_back();
}

void MetricsLog::on_evaluation(const Evaluation& evaluation, const Minimizer&) {
  if (line_.empty()) return;  // before the first step: result.json has it
  Json metrics;
  for (const auto& [name, value] : evaluation.metrics) metrics[name] = value;
  line_ += ",\"evaluation\":" + metrics.dump();
  flush();
}

void MetricsLog::on_end(const Summary&, const Minimizer&) {
  sync();
}

BestWeights::BestWeights(std::string path, std::string metric, bool higher_is_better)
    : path_(std::move(path)), metric_(std::move(metric)), higher_is_better_(higher_is_better) {}

void BestWeights::on_evaluation(const Evaluation& evaluation, const Minimizer& minimizer) {
  for (const auto& [name, value] : evaluation.metrics) {
    if (name != metric_ || std::isnan(value)) continue;
    if (best_ && !(higher_is_better_ ? value > *best_ : value < *best_)) return;
    best_ = value;
    AtAverage point(minimizer.stepper());
    save_safetensors(path_, minimizer.stepper().objective().terms().front().model.state());
  }
}

Checkpoints::Checkpoints(std::string folder, int64_t every_steps, int64_t keep,
                         std::shared_ptr<MetricsLog> log, std::shared_ptr<BestWeights> best,
                         std::shared_ptr<TrainingWatch> watch)
    : folder_(std::move(folder)),
      every_steps_(every_steps),
      keep_(keep),
      log_(std::move(log)),
      best_(std::move(best)),
      watch_(std::move(watch)) {}

bool Checkpoints::resume(Minimizer& minimizer) {
  auto candidates = checkpoints_in(folder_);
  for (const auto& path : candidates) {
    try {
      auto archive = Archive::load(path.string(), checkpoint_kind, checkpoint_version);
      minimizer.load(archive.scope("minimizer"));
      log_->truncate(archive.integer("metrics_bytes"));
      if (best_ && archive.contains("best")) best_->set_best(archive.number("best"));
      if (watch_ && archive.contains("watch") && archive.flag("watch")) watch_->load(archive.scope("watch"));
      log_info(fmt::format("resuming after step {} ({})", step_of(path), path.string()));
      return true;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::data) throw;
      std::string message = error.what();
      if (message.find(path.string()) == std::string::npos) message = path.string() + ": " + message;
      if (path == candidates.back()) fail_data(message);
      log_warning(message + "; trying the one before");
    }
  }
  return false;
}

bool Checkpoints::due(const Minimizer& minimizer) const {
  if (every_steps_ > 0) return minimizer.stepper().steps() % every_steps_ == 0;
  return since_last_.seconds() >= checkpoint_seconds;
}

void Checkpoints::on_step(const StepRecord&, const Minimizer& minimizer) {
  // Where an evaluation follows it belongs to the checkpoint, and on_evaluation saves.
  if (due(minimizer) && !minimizer.evaluation_due()) save(minimizer);
}

void Checkpoints::on_evaluation(const Evaluation& evaluation, const Minimizer& minimizer) {
  if (evaluation.step > 0 && due(minimizer)) save(minimizer);
}

void Checkpoints::on_end(const Summary& summary, const Minimizer& minimizer) {
  if (summary.reason == StopReason::interrupted) save(minimizer);
}

void Checkpoints::save(const Minimizer& minimizer) {
  if (!writes_files()) return;
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) fail(ErrorKind::write, fmt::format("{}: {}", folder_, error.message()));
  log_->sync();  // a checkpoint must not tell of lines that a power cut takes
  Archive archive(checkpoint_kind, checkpoint_version);
  auto scope = archive.scope("minimizer");
  minimizer.save(scope);
  archive.put("metrics_bytes", log_->size());
  if (best_ && best_->best()) archive.put("best", *best_->best());
  archive.put("watch", watch_ != nullptr);
  if (watch_) {
    auto seen = archive.scope("watch");
    watch_->save(seen);
  }
  archive.save(fmt::format("{}/step-{:09}.safetensors", folder_, minimizer.stepper().steps()));
  auto all = checkpoints_in(folder_);
  for (size_t i = static_cast<size_t>(keep_); i < all.size(); ++i) fs::remove(all[i], error);
  since_last_.reset();
}

void ProgressWatcher::on_step(const StepRecord& record, const Minimizer& minimizer) {
  std::string line = fmt::format("step {}, epoch {:.2f}, loss {}, {}, {} ge", format_count(record.step),
                                 record.epochs, format_number(record.loss_before),
                                 format_seconds(record.seconds), format_number(record.gradient_equivalents));
  if (!minimizer.last_evaluation().metrics.empty() && minimizer.last_evaluation().step > 0) {
    line += fmt::format(" | at step {}:", format_count(minimizer.last_evaluation().step));
    for (const auto& [name, value] : minimizer.last_evaluation().metrics)
      line += fmt::format(" {} {}", name, format_number(value));
  }
  double left = seconds_left(record, minimizer.options());
  if (!std::isnan(left)) line += fmt::format(" | {} left", format_seconds(left));
  show_(line);
}

}  // namespace osculant
