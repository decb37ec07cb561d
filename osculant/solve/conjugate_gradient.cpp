#include "osculant/solve/conjugate_gradient.h"

#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>

#include "osculant/base/error.h"
#include "osculant/base/text.h"
#include "osculant/solve/arguments.h"

namespace osculant {
namespace {

class ConjugateGradient {
 public:
  ConjugateGradient(const LinearOperator& A, const Tensor& b, const CgOptions& options)
      : A_(A), space_(A.domain()), b_(b), options_(options), norm_b_(space_.norm(b)) {}

  CgResult run() {
    start();
    while (!finished()) iterate();
    return finish();
  }

 private:
  void start() {
    if (options_.initial_guess.defined()) {
      x_ = options_.initial_guess.clone();
      r_ = b_ - A_.apply(x_);
      phi_ = -0.5 * (space_.dot(x_, b_) + space_.dot(x_, r_));  // phi(x) = -x'(b + r)/2
    } else {
      x_ = at::zeros_like(b_);
      r_ = b_.clone();
    }
    history_.push_back(phi_);
    residual_norm_ = space_.norm(r_);
    precondition();
    rho_ = space_.dot(r_, z_);
    p_ = z_.clone();
  }

  void precondition() { z_ = options_.preconditioner ? options_.preconditioner->apply(r_) : r_; }

  bool stop(CgStop reason, std::string message) {
    result_.stop = reason;
    result_.message = std::move(message);
    return true;
  }

  bool finished() {
    if (stopped_) return true;
    if (!std::isfinite(residual_norm_) || !std::isfinite(phi_))
      return stop(CgStop::non_finite,
                  fmt::format("iteration {}: norm(r) = {}, phi = {}", i_, residual_norm_, phi_));
    return small_residual() || no_progress() || exhausted() || interrupted();
  }

  bool small_residual() {
    double threshold = std::max(options_.relative_tolerance * norm_b_, options_.absolute_tolerance);
    if (residual_norm_ > threshold) return false;
    return stop(CgStop::residual, fmt::format("norm(r) = {} <= {} = max({} * norm(b), {})",
                                              format_number(residual_norm_), format_number(threshold),
                                              options_.relative_tolerance, options_.absolute_tolerance));
  }

  // Martens (2010), section 4.4.
  bool no_progress() {
    if (options_.progress_tolerance <= 0) return false;
    int64_t k = std::max<int64_t>(options_.progress_window, static_cast<int64_t>(std::ceil(0.1 * i_)));
    if (i_ <= k || phi_ >= 0) return false;
    double gain = (phi_ - history_[i_ - k]) / phi_, needed = k * options_.progress_tolerance;
    if (gain >= needed) return false;
    return stop(CgStop::progress,
                fmt::format("phi = {} fell by a share of {} in {} iterations, less than {}",
                            format_number(phi_), format_number(gain), k, format_number(needed)));
  }

  bool exhausted() {
    if (i_ < options_.max_iterations) return false;
    return stop(CgStop::iterations, fmt::format("{} iterations made; norm(r) = {} * norm(b)", i_,
                                                format_number(relative_residual())));
  }

  bool interrupted() {
    if (!options_.progress || options_.progress({i_, residual_norm_, phi_})) return false;
    return stop(CgStop::interrupted, fmt::format("interrupted after {} iterations; norm(r) = {} * norm(b)",
                                                 i_, format_number(relative_residual())));
  }

  void iterate() {
    Tensor Ap = A_.apply(p_);
    double curvature = space_.dot(p_, Ap);
    if (!std::isfinite(curvature) || !std::isfinite(rho_)) {
      stopped_ =
          stop(CgStop::non_finite, fmt::format("iteration {}: p'Ap = {}, r'z = {}", i_ + 1, curvature, rho_));
      return;
    }
    if (curvature <= 0) return leave_along_negative_curvature(curvature);
    double alpha = rho_ / curvature;
    x_.add_(p_, alpha);
    r_.sub_(Ap, alpha);
    ++i_;
    // phi(x + alpha p) - phi(x) = -alpha p'r + alpha^2 p'Ap / 2 with p'r = r'z = alpha p'Ap.
    phi_ -= 0.5 * alpha * rho_;
    history_.push_back(phi_);
    residual_norm_ = space_.norm(r_);
    precondition();
    double rho = options_.preconditioner ? space_.dot(r_, z_) : residual_norm_ * residual_norm_;
    p_.mul_(rho / rho_).add_(z_);
    rho_ = rho;
    if (options_.keep_iterates && i_ == next_kept_) keep();
  }

  void leave_along_negative_curvature(double curvature) {
    double norm = space_.norm(p_);
    if (norm == 0) {
      stopped_ = stop(CgStop::non_finite,
                      fmt::format("iteration {}: the direction p vanished, r'z = {}", i_ + 1, rho_));
      return;
    }
    result_.direction = p_ / norm;
    result_.curvature = curvature / (norm * norm);
    result_.descent = rho_ / norm;  // p'r = r'z
    stopped_ = stop(CgStop::negative_curvature, fmt::format("iteration {}: p'Ap / p'p = {} <= 0", i_ + 1,
                                                            format_number(result_.curvature)));
  }

  void keep() {
    result_.iterates.push_back({i_, phi_, x_.clone()});
    while (next_kept_ <= i_) next_kept_ = static_cast<int64_t>(std::ceil(5 * std::pow(1.3, ++kept_power_)));
  }

  double relative_residual() const { return norm_b_ > 0 ? residual_norm_ / norm_b_ : residual_norm_; }

  CgResult finish() {
    result_.x = x_;
    result_.iterations = i_;
    result_.residual_norm = residual_norm_;
    result_.relative_residual = relative_residual();
    result_.phi = phi_;
    if (options_.keep_iterates && (result_.iterates.empty() || result_.iterates.back().iteration != i_))
      result_.iterates.push_back({i_, phi_, x_});
    return std::move(result_);
  }

  const LinearOperator& A_;
  const VectorSpace& space_;
  const Tensor& b_;
  const CgOptions& options_;
  CgResult result_;
  Tensor x_, r_, z_, p_;
  double norm_b_, residual_norm_ = 0, rho_ = 0, phi_ = 0;
  std::vector<double> history_;  // phi_0, phi_1, ...
  int64_t i_ = 0, next_kept_ = 5;
  int kept_power_ = 0;
  bool stopped_ = false;
};

}  // namespace

std::string_view to_string(CgStop stop) {
  switch (stop) {
    case CgStop::residual:
      return "residual";
    case CgStop::progress:
      return "progress";
    case CgStop::negative_curvature:
      return "negative_curvature";
    case CgStop::iterations:
      return "iterations";
    case CgStop::interrupted:
      return "interrupted";
    case CgStop::non_finite:
      return "non_finite";
  }
  return "?";
}

CgOptions CgOptions::martens(int64_t max_iterations) {
  return {.max_iterations = max_iterations,
          .relative_tolerance = 0,
          .progress_tolerance = 5e-4,
          .keep_iterates = true};
}

void CgOptions::check() const {
  require_at_least("max_iterations", static_cast<double>(max_iterations), 0);
  require_non_negative("relative_tolerance", relative_tolerance);
  require_non_negative("absolute_tolerance", absolute_tolerance);
  require_non_negative("progress_tolerance", progress_tolerance);
  require_at_least("progress_window", static_cast<double>(progress_window), 1);
}

CgResult conjugate_gradient(const LinearOperator& A, const Tensor& b, const CgOptions& options) {
  options.check();
  require_symmetric("conjugate_gradient", A);
  require_fits("conjugate_gradient", A, b, "b");
  if (options.initial_guess.defined())
    require_fits("conjugate_gradient", A, options.initial_guess, "initial_guess");
  torch::NoGradGuard no_grad;
  return ConjugateGradient(A, b, options).run();
}

}  // namespace osculant
