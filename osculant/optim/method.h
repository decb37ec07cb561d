#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "osculant/optim/direction.h"
#include "osculant/optim/step_rule.h"

namespace osculant {

// What a method is made of.
struct MethodParts {
  std::unique_ptr<Direction> direction;
  std::unique_ptr<StepRule> rule;
  std::optional<Damping> damping;  // absent where the method has no lambda
  int64_t attempts = 1;            // proposals a step before it counts as rejected
};

// A training method with its options: a recipe for the parts. A value; each Stepper makes its own parts.
class Method {
 public:
  using Factory = std::function<MethodParts(const Objective&)>;
  Method(std::string name, Factory make) : name_(std::move(name)), make_(std::move(make)) {}

  const std::string& name() const { return name_; }
  MethodParts make(const Objective& objective) const { return make_(objective); }

 private:
  std::string name_;
  Factory make_;
};

}  // namespace osculant
