#pragma once

#include <cstdint>
#include <string>

namespace osculant {

enum class ScheduleShape {
  constant,
  cosine,  // (1 + cos(pi t / T)) / 2 (Loshchilov & Hutter 2017), down to `final`
  step,    // times `factor` every `every` steps
  linear,  // 1 - t / T, down to `final`
};
std::string to_string(ScheduleShape shape);

// The share of a method's learning rate that step t takes, t = 1 for the first: a linear warm-up, then the
// shape.
struct Schedule {
  ScheduleShape shape = ScheduleShape::constant;
  int64_t warmup = 0;  // steps: t / warmup until then
  int64_t length = 0;  // T, steps, warm-up included; cosine and linear stay at `final` beyond
  double final = 0;
  int64_t every = 0;  // of `step`
  double factor = 0.1;
  double at(int64_t step) const;
  bool is_constant() const { return shape == ScheduleShape::constant && warmup == 0; }
  void check() const;
};

}  // namespace osculant
