#pragma once

#include <cstdint>

namespace osculant {

struct DampingOptions {
  double initial = 1;
  double minimum = 0;
  double maximum = 1e12;
  double low = 0.25;      // rho below it: the model promised too much
  double high = 0.75;     // rho above it: the model can be trusted further
  double increase = 1.5;  // lambda * increase
  double decrease = 1.5;  // lambda / decrease
  void check() const;
};

// lambda of B + lambda I, from how well the quadratic model predicted the last step (Levenberg 1944;
// Martens 2010, section 4.1): rho < 1/4 -> 1.5 lambda, rho > 3/4 -> lambda / 1.5.
class Damping {
 public:
  explicit Damping(const DampingOptions& options = {});

  double value() const { return value_; }
  void update(double rho);  // after a step was tried; a rho that is no number counts as a failure
  void set(double value);   // for a run that resumes

 private:
  DampingOptions options_;
  double value_;
};

}  // namespace osculant
