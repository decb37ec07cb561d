#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace osculant {

// A number that an evaluation found: "loss", "accuracy", "test.accuracy".
struct Metric {
  std::string name;
  double value = 0;
};

// "loss<=1e-4": a metric, a comparison (<=, <, >=, >) and a number. "loss=1e-4" means <= for whatever is
// meant to fall and >= for accuracies.
class Target {
 public:
  // Throws Error(usage) quoting `text` when it cannot be read.
  static Target parse(const std::string& text);

  const std::string& metric() const { return metric_; }
  bool reached(double value) const;  // false for NaN
  bool higher_is_better() const;     // >= or >
  std::string str() const;           // "loss <= 0.0001"
  // Throws Error(usage), with the nearest name, when no metric is called that.
  void require_among(const std::vector<Metric>& metrics) const;
  // The metric's value; NaN when it is not among them.
  double value_in(const std::vector<Metric>& metrics) const;

 private:
  std::string metric_, comparison_;
  double bound_ = 0;
};

}  // namespace osculant
