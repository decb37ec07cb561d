#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "osculant/spectrum/functions.h"

namespace osculant {

class Archive;

// What the losses and gradient norms of a training's steps tell by themselves, at no cost: whether they grow
// towards the end of the number format, and whether the loss still moves.
class StepTrend {
 public:
  // `window`: steps, an even number, that the loss is judged by.
  explicit StepTrend(int64_t window = 200);

  // Of a step, both finite.
  void add(double loss, double gradient_norm);

  // What a step multiplies the gradient's norm by, from the last 8 steps, or 5 at the start: their logarithms
  // as a random walk with drift, with Student's t interval at 95 %. Told where the interval lies above 1, the
  // norm is 1,000 times what it was at the first step, and the loss is larger than there: away from a saddle
  // gradients grow as well, and the loss falls.
  struct Growth {
    Measured factor;
    double first = 0, norm = 0;               // the norm at the first step, and now
    double steps_left(double largest) const;  // until the norm is `largest`, at that factor
  };
  std::optional<Growth> growth() const;

  // By how much of itself the mean loss of the second half of the window is below that of the first. The
  // interval, 95 %, is that of means over eighths of each half, in which the noise of single steps averages.
  // Absent until the window is full.
  std::optional<Measured> relative_fall() const;

  // Mean loss of the last 10 steps, of the 10 before these, and of the first 10; NaN where there were not as
  // many.
  double recent_loss() const { return mean(losses_.size(), 10); }
  double earlier_loss() const { return losses_.size() < 20 ? mean(0, 10) : mean(losses_.size() - 10, 10); }
  double first_loss() const { return first_loss_; }  // mean of the first 10
  double first_step_loss() const { return first_step_loss_; }
  double last_loss() const { return losses_.empty() ? first_step_loss_ : losses_.back(); }

  int64_t window() const { return window_; }
  int64_t count() const { return count_; }

  void save(Archive& archive) const;
  void load(const Archive& archive);

 private:
  double mean(size_t end, size_t count) const;

  int64_t window_, count_ = 0;
  std::vector<double> losses_, norms_;  // of the window, and of the last 8 steps; newest last
  double first_norm_, first_loss_, first_step_loss_;
};

}  // namespace osculant
