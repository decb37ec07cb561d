#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace osculant {

// The value that Student's t with `dof` > 0 degrees of freedom stays below with probability p, 0 < p < 1.
double student_quantile(double p, double dof);

// The same for chi-square with `dof` > 0 degrees of freedom.
double chi_square_quantile(double p, double dof);

// P(X <= x) for chi-square with `dof` > 0 degrees of freedom.
double chi_square_probability(double x, double dof);

// P(X <= x) for X distributed as Beta(a, b), a, b > 0.
double beta_probability(double x, double a, double b);

// P(c^2 <= square) for an entry c of a vector drawn from the unit sphere in R^n: c^2 is distributed as
// Beta(1/2, (n - 1)/2), so that this is about sqrt(2 n square / pi).
double random_entry_probability(int64_t n, double square);

// An interval for the mean of a population of numbers in [0, 1], from some of them drawn without replacement,
// in the order they were drawn: the means against which nobody betting on the next draw, from those before
// it, would have multiplied a stake by 2 / (1 - confidence) (Waudby-Smith & Ramdas 2024). Covers with at
// least the probability `confidence` whatever the numbers are, near 1 in trials; a t interval covers in half
// of them where a few numbers differ from all others.
std::pair<double, double> mean_of_bounded(const std::vector<double>& draws, int64_t population,
                                          double confidence);

// Mean and variance of numbers as they come (Welford 1962).
class RunningMoments {
 public:
  void add(double x) {
    double delta = x - mean_;
    mean_ += delta / ++count_;
    squares_ += delta * (x - mean_);
  }
  long count() const { return count_; }
  double mean() const { return mean_; }
  double variance() const { return count_ > 1 ? squares_ / (count_ - 1) : 0; }  // of one number, unbiased

 private:
  long count_ = 0;
  double mean_ = 0, squares_ = 0;
};

}  // namespace osculant
