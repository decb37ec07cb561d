#include "osculant/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "osculant/base/error.h"

namespace osculant {

std::string to_string(ScheduleShape shape) {
  switch (shape) {
    case ScheduleShape::constant:
      return "constant";
    case ScheduleShape::cosine:
      return "cosine";
    case ScheduleShape::step:
      return "step";
    case ScheduleShape::linear:
      return "linear";
  }
  return "";
}

void Schedule::check() const {
  require_non_negative("schedule warmup", static_cast<double>(warmup));
  require_between("schedule final", final, 0, 1);
  require_positive("schedule factor", factor);
  if (shape == ScheduleShape::cosine || shape == ScheduleShape::linear)
    require_at_least("schedule length", static_cast<double>(length), static_cast<double>(warmup + 1));
  if (shape == ScheduleShape::step) require_at_least("schedule every", static_cast<double>(every), 1);
}

double Schedule::at(int64_t step) const {
  if (step <= warmup) return static_cast<double>(step) / static_cast<double>(warmup);
  // The first step after the warm-up is t = 0 of the shape, the last of `length` steps T - 1 of T.
  int64_t t = step - 1 - warmup;
  double share =
      std::min(1.0, static_cast<double>(t) / static_cast<double>(std::max<int64_t>(length - warmup, 1)));
  switch (shape) {
    case ScheduleShape::cosine:
      return final + (1 - final) * (1 + std::cos(std::numbers::pi * share)) / 2;
    case ScheduleShape::linear:
      return final + (1 - final) * (1 - share);
    case ScheduleShape::step:
      return std::pow(factor, static_cast<double>(t / every));
    case ScheduleShape::constant:
      break;
  }
  return 1;
}

}  // namespace osculant
