#include "osculant/optim/damping.h"

#include <algorithm>

#include "osculant/base/error.h"

namespace osculant {

void DampingOptions::check() const {
  require_non_negative("damping", initial);
  require_non_negative("minimum damping", minimum);
  require_at_least("maximum damping", maximum, minimum);
  require_between("low gain ratio", low, 0, 1);
  require_between("high gain ratio", high, low, 1);
  require_at_least("damping increase", increase, 1);
  require_at_least("damping decrease", decrease, 1);
}

Damping::Damping(const DampingOptions& options) : options_(options), value_(options.initial) {
  options_.check();
  set(options_.initial);
}

void Damping::update(double rho) {
  if (!(rho >= options_.low))
    set(value_ * options_.increase);
  else if (rho > options_.high)
    set(value_ / options_.decrease);
}

void Damping::set(double value) {
  value_ = std::clamp(value, options_.minimum, options_.maximum);
}

}  // namespace osculant
