#include "osculant/diagnose/step_trend.h"

#include <algorithm>
#include <cmath>

#include "osculant/base/error.h"
#include "osculant/io/archive.h"
#include "osculant/spectrum/statistics.h"

namespace osculant {
namespace {

constexpr size_t growth_steps = 8, fewest_growth_steps = 5, mean_of = 10, blocks = 8;
constexpr double grown = 1e3;

// Mean with Student's t interval at 95 %.
Measured interval(const RunningMoments& moments) {
  auto count = static_cast<double>(moments.count());
  double half = student_quantile(0.975, count - 1) * std::sqrt(moments.variance() / count);
  return {moments.mean(), moments.mean() - half, moments.mean() + half};
}

}  // namespace

StepTrend::StepTrend(int64_t window)
    : window_(window), first_norm_(std::nan("")), first_loss_(std::nan("")), first_step_loss_(std::nan("")) {
  require_at_least("window", static_cast<double>(window), 2 * blocks);
}

void StepTrend::add(double loss, double gradient_norm) {
  ++count_;
  losses_.push_back(loss);
  if (losses_.size() > static_cast<size_t>(window_)) losses_.erase(losses_.begin());
  norms_.push_back(gradient_norm);
  if (norms_.size() > growth_steps) norms_.erase(norms_.begin());
  if (count_ == 1) {
    first_norm_ = gradient_norm;
    first_step_loss_ = loss;
  }
  if (count_ == mean_of) first_loss_ = recent_loss();
}

double StepTrend::mean(size_t end, size_t count) const {
  if (end < count) return std::nan("");
  double sum = 0;
  for (size_t i = end - count; i < end; ++i) sum += losses_[i];
  return sum / static_cast<double>(count);
}

std::optional<StepTrend::Growth> StepTrend::growth() const {
  if (norms_.size() < fewest_growth_steps || !(norms_.back() > grown * first_norm_)) return std::nullopt;
  if (!(losses_.back() > first_step_loss_)) return std::nullopt;
  RunningMoments moments;
  for (size_t i = 0; i + 1 < norms_.size(); ++i) moments.add(std::log(norms_[i + 1] / norms_[i]));
  Measured drift = interval(moments);
  if (!(drift.low > 0)) return std::nullopt;
  return Growth{
      {std::exp(drift.value), std::exp(drift.low), std::exp(drift.high)}, first_norm_, norms_.back()};
}

double StepTrend::Growth::steps_left(double largest) const {
  return std::max(std::log(largest / norm) / std::log(factor.value), 0.0);
}

std::optional<Measured> StepTrend::relative_fall() const {
  if (losses_.size() < static_cast<size_t>(window_)) return std::nullopt;
  size_t half = losses_.size() / 2, block = half / blocks;
  RunningMoments early, late;
  for (size_t b = 0; b < blocks; ++b) {
    early.add(mean(half - b * block, block));
    late.add(mean(losses_.size() - b * block, block));
  }
  double fall = early.mean() - late.mean(), scale = (std::abs(early.mean()) + std::abs(late.mean())) / 2;
  double error =
      std::sqrt((early.variance() + late.variance()) / blocks) * student_quantile(0.975, 2 * blocks - 2);
  if (!(scale > 0)) return Measured{0, 0, 0};
  return Measured{fall / scale, (fall - error) / scale, (fall + error) / scale};
}

void StepTrend::save(Archive& archive) const {
  archive.put("losses", losses_);
  archive.put("norms", norms_);
  archive.put("count", count_);
  archive.put("firsts", std::vector<double>{first_norm_, first_loss_, first_step_loss_});
}

void StepTrend::load(const Archive& archive) {
  losses_ = archive.numbers("losses");
  norms_ = archive.numbers("norms");
  count_ = archive.integer("count");
  auto firsts = archive.numbers("firsts");
  if (firsts.size() != 3 || losses_.size() > static_cast<size_t>(window_) || norms_.size() > growth_steps)
    fail_data("checkpoint: what the watcher knew of the losses is damaged");
  first_norm_ = firsts[0];
  first_loss_ = firsts[1];
  first_step_loss_ = firsts[2];
}

}  // namespace osculant
