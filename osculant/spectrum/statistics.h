#pragma once

namespace osculant {

// The value that Student's t with `dof` > 0 degrees of freedom stays below with probability p, 0 < p < 1.
double student_quantile(double p, double dof);

// The same for chi-square with `dof` > 0 degrees of freedom.
double chi_square_quantile(double p, double dof);

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
