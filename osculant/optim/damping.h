#pragma once

#include <cstdint>
#include <string>

#include "osculant/optim/options.h"

namespace osculant {

class Archive;

// How lambda follows rho = (f(theta + p) - f(theta)) / (m(p) - m(0)), m the undamped quadratic model.
enum class DampingRule {
  martens,  // rho < 1/4: 1.5 lambda, rho > 3/4: lambda / 1.5 (Levenberg 1944; Martens 2010, section 4.1)
  nielsen,  // rho > 0: lambda max(1/3, 1 - (2 rho - 1)^3), else lambda nu, nu doubling with each failure in a
            // row (Nielsen 1999, IMM-REP-1999-05; as a trust region's radius 1/lambda that of Ceres)
  omega,    // every `interval` steps: lambda w^interval for rho > 3/4, lambda / w^interval for rho < 1/4, w =
            // 19/20 (Martens & Grosse 2015, section 6.5)
  fixed,    // lambda as it was given
};
std::string to_string(DampingRule rule);

struct DampingOptions {
  DampingRule rule = DampingRule::martens;
  double initial = 1;
  double minimum = 0;
  double maximum = 1e12;
  double low = 0.25;      // rho below it: the model promised too much (martens, omega)
  double high = 0.75;     // rho above it: the model can be trusted further (martens, omega)
  double increase = 1.5;  // lambda * increase (martens)
  double decrease = 1.5;  // lambda / decrease (martens)
  int64_t interval = 5;   // steps between changes (omega)

  // The floor from the gradient's noise. On a batch, rho flatters: model and value share the batch, and
  // lambda runs down until steps fit its noise. So every `noise_interval` steps the steps that two halves of
  // the batch would propose are compared; where their cosine is below `agreement` the floor rises to
  // noise_factor lambda, otherwise it falls by noise_factor. 0: no floor.
  int64_t noise_interval = 0;
  double agreement = 0.5;
  double noise_factor = 1.5;
  void check() const;
};
// As options of a method: damping (initial), damping_rule, minimum_damping, noise_interval.
void visit(OptionVisitor& visitor, DampingOptions& options);

// lambda of B + lambda I (or whatever a method damps with): one controller for all methods that have one.
class Damping {
 public:
  explicit Damping(const DampingOptions& options = {});

  double value() const { return value_; }
  double floor() const { return floor_; }
  void update(double rho);  // after a step was tried; a rho that is no number counts as a failure
  bool noise_check_due(int64_t step) const;
  void noise_checked(double cosine);  // of the steps two halves of the batch propose

  void save(Archive& archive) const;
  void load(const Archive& archive);

 private:
  void set(double value);

  DampingOptions options_;
  double value_;
  double floor_;
  double failure_factor_ = 2;  // Nielsen's nu
  int64_t updates_ = 0;
};

}  // namespace osculant
