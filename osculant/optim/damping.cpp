#include "osculant/optim/damping.h"

#include <algorithm>
#include <cmath>

#include "osculant/base/error.h"
#include "osculant/io/archive.h"

namespace osculant {

std::string to_string(DampingRule rule) {
  switch (rule) {
    case DampingRule::martens:
      return "martens";
    case DampingRule::nielsen:
      return "nielsen";
    case DampingRule::omega:
      return "omega";
    case DampingRule::fixed:
      return "fixed";
  }
  return "";
}

void DampingOptions::check() const {
  require_non_negative("damping", initial);
  require_non_negative("minimum damping", minimum);
  require_at_least("maximum damping", maximum, minimum);
  require_between("damping low", low, 0, 1);
  require_between("damping high", high, low, 1);
  require_at_least("damping increase", increase, 1);
  require_at_least("damping decrease", decrease, 1);
  require_at_least("damping interval", static_cast<double>(interval), 1);
  require_non_negative("noise interval", static_cast<double>(noise_interval));
  require_between("agreement", agreement, -1, 1);
  require_at_least("noise factor", noise_factor, 1);
}

void visit(OptionVisitor& v, DampingOptions& o) {
  v.number("damping", o.initial, ">= 0", "lambda at the start");
  v.choice<DampingRule>("damping_rule", o.rule,
                        {{"martens", DampingRule::martens},
                         {"nielsen", DampingRule::nielsen},
                         {"omega", DampingRule::omega},
                         {"fixed", DampingRule::fixed}},
                        "how lambda follows the gain ratio");
  v.number("minimum_damping", o.minimum, ">= 0", "lambda never falls below it");
  v.integer("noise_interval", o.noise_interval, ">= 0",
            "on mini-batches, steps between checks of lambda against the gradient's noise; 0: none");
}

Damping::Damping(const DampingOptions& options)
    : options_((options.check(), options)), floor_(options.minimum) {
  set(options.initial);
}

void Damping::set(double value) {
  value_ = std::clamp(value, std::min(floor_, options_.maximum), options_.maximum);
}

void Damping::update(double rho) {
  ++updates_;
  bool failed = std::isnan(rho) || rho < options_.low;
  switch (options_.rule) {
    case DampingRule::martens:
      if (failed) set(value_ * options_.increase);
      if (rho > options_.high) set(value_ / options_.decrease);
      break;
    case DampingRule::nielsen:
      if (rho > 0) {
        set(value_ * std::max(1.0 / 3, 1 - std::pow(2 * std::min(rho, 1.0) - 1, 3)));
        failure_factor_ = 2;
      } else {
        set(value_ * failure_factor_);
        failure_factor_ = std::min(2 * failure_factor_, 1e6);
      }
      break;
    case DampingRule::omega: {
      if (updates_ % options_.interval != 0) break;
      double factor = std::pow(19.0 / 20, static_cast<double>(options_.interval));
      if (failed) set(value_ / factor);
      if (rho > options_.high) set(value_ * factor);
      break;
    }
    case DampingRule::fixed:
      break;
  }
}

bool Damping::noise_check_due(int64_t step) const {
  return options_.noise_interval > 0 && step % options_.noise_interval == 0;
}

void Damping::noise_checked(double cosine) {
  // Written so that a cosine that is no number raises the floor.
  bool agree = cosine >= options_.agreement;
  floor_ = agree ? floor_ / options_.noise_factor : std::max(floor_, value_) * options_.noise_factor;
  floor_ = std::clamp(floor_, options_.minimum, options_.maximum);
  set(value_);
}

void Damping::save(Archive& archive) const {
  archive.put("value", value_);
  archive.put("floor", floor_);
  archive.put("failure_factor", failure_factor_);
  archive.put("updates", updates_);
}

void Damping::load(const Archive& archive) {
  floor_ = archive.number("floor");
  value_ = archive.number("value");
  failure_factor_ = archive.number("failure_factor");
  updates_ = archive.integer("updates");
}

}  // namespace osculant
