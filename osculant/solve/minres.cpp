#include "osculant/solve/minres.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "osculant/base/error.h"
#include "osculant/base/text.h"

namespace osculant {
namespace {

// Numbered as in Liu & Roosta (2022), algorithm 1: step k works on v = v_k, turns r_{k-1} and x_{k-1} into
// r_k and x_k, and phi = norm(r). Reflections [c s; s -c].
class Minres {
 public:
  Minres(const LinearOperator& A, const Tensor& b, const MinresOptions& options)
      : A_(A), space_(A.domain()), options_(options), norm_b_(space_.norm(b)) {
    least_squares_ = options.least_squares_tolerance < 0 ? 3 * std::sqrt(space_.epsilon())
                                                         : options.least_squares_tolerance;
    x_ = at::zeros_like(b);
    r_ = b.clone();
    phi_ = norm_b_;
    if (phi_ > 0) v_ = b / phi_;
  }

  MinresResult run() {
    while (!finished()) iterate();
    return finish();
  }

 private:
  void stop(MinresStop reason, std::string message) {
    stopped_ = true;
    result_.stop = reason;
    result_.message = std::move(message);
  }

  bool finished() {
    if (stopped_) return true;
    double threshold = std::max(options_.relative_tolerance * norm_b_, options_.absolute_tolerance);
    if (!std::isfinite(phi_))
      stop(MinresStop::non_finite, fmt::format("iteration {}: norm(r) = {}", k_, phi_));
    else if (phi_ <= threshold)
      stop(MinresStop::residual,
           fmt::format("norm(r) = {} <= {} = max({} * norm(b), {})", format_number(phi_),
                       format_number(threshold), options_.relative_tolerance, options_.absolute_tolerance));
    else if (double rounding = space_.epsilon() * A_norm_ * x_norm_; phi_ <= rounding)
      stop(MinresStop::precision, fmt::format("norm(r) = {} <= {} = u * norm(A) * norm(x)",
                                              format_number(phi_), format_number(rounding)));
    else if (k_ >= options_.max_iterations)
      stop(MinresStop::iterations,
           fmt::format("{} iterations made; norm(r) = {} * norm(b)", k_, format_number(phi_ / norm_b_)));
    else if (k_ > 0 && options_.progress && !options_.progress({k_, phi_}))
      stop(MinresStop::interrupted, fmt::format("interrupted after {} iterations; norm(r) = {} * norm(b)", k_,
                                                format_number(phi_ / norm_b_)));
    return stopped_;
  }

  void iterate() {
    // The Lanczos recurrence: beta_{k+1} v_{k+1} = A v_k - alpha_k v_k - beta_k v_{k-1}.
    Tensor q = A_.apply(v_);
    ++result_.products;
    if (k_ > 0) q = q.sub(v_before_, beta_);
    double alpha = space_.dot(v_, q);
    q = q.sub(v_, alpha);
    double beta = space_.norm(q);
    if (!std::isfinite(alpha) || !std::isfinite(beta))
      return stop(MinresStop::non_finite,
                  fmt::format("iteration {}: v'Av = {}, norm(A v) = {}", k_ + 1, alpha, beta));
    // The reflection of step k - 1 on the new column of T.
    double delta = c_ * delta_next_ + s_ * alpha, gamma_before = s_ * delta_next_ - c_ * alpha;
    double epsilon = epsilon_next_, delta_next = -c_ * beta;
    A_norm_ = std::max(A_norm_, std::hypot(beta_, alpha, beta));
    if (least_squares(phi_ * std::hypot(gamma_before, delta_next))) return;
    if (leaves_along_negative_curvature(-c_ * gamma_before)) return;
    double gamma = std::hypot(gamma_before, beta);
    smallest_ = std::min({smallest_, gamma, std::hypot(gamma_before, delta_next)});

    epsilon_next_ = s_ * beta;
    delta_next_ = delta_next;
    c_ = gamma_before / gamma;
    s_ = beta / gamma;
    advance(delta, epsilon, gamma, c_ * phi_);
    phi_ *= s_;
    v_before_ = v_;
    beta_ = beta;
    // r_k = s_k^2 r_{k-1} - phi_k c_k v_{k+1}
    r_.mul_(s_ * s_);
    if (beta > 0) {
      v_ = q / beta;
      r_.sub_(v_, phi_ * c_);
    }
    ++k_;
  }

  // d_k = (v_k - delta_k d_{k-1} - epsilon_k d_{k-2}) / gamma_k, x_k = x_{k-1} + tau_k d_k
  void advance(double delta, double epsilon, double gamma, double tau) {
    Tensor d = v_.clone();
    if (k_ > 0) d.sub_(d_, delta);
    if (k_ > 1) d.sub_(d_before_, epsilon);
    d.div_(gamma);
    x_.add_(d, tau);
    x_norm_ = space_.norm(x_);
    d_before_ = d_;
    d_ = d;
  }

  // norm(A r_{k-1}) = phi_{k-1} norm(gamma_k before its reflection, delta_{k+1} before its own)
  // (Choi, Paige & Saunders 2011, eq. 3.13).
  bool least_squares(double Ar_norm) {
    double threshold = least_squares_ * A_norm_ * phi_;
    if (Ar_norm > threshold) return false;
    result_.Ar_norm = Ar_norm;
    stop(MinresStop::least_squares,
         fmt::format("inconsistent: norm(A r) = {} <= {} = {} * norm(A) * norm(r), norm(r) = {} * norm(b)",
                     format_number(Ar_norm), format_number(threshold), format_number(least_squares_),
                     format_number(phi_ / norm_b_)));
    return true;
  }

  // r'Ar / r'r = -c_{k-1} gamma_k before its reflection (Liu & Roosta 2022, lemma 1).
  bool leaves_along_negative_curvature(double curvature) {
    if (curvature > 0) return false;
    if (!result_.direction.defined() || curvature < result_.curvature) {
      result_.direction = r_ / phi_;
      result_.curvature = curvature;
    }
    if (!options_.stop_at_negative_curvature) return false;
    stop(MinresStop::negative_curvature,
         fmt::format("iteration {}: r'Ar / r'r = {} <= 0", k_ + 1, format_number(curvature)));
    return true;
  }

  MinresResult finish() {
    result_.x = x_;
    result_.residual = r_;
    result_.iterations = k_;
    result_.residual_norm = phi_;
    result_.relative_residual = norm_b_ > 0 ? phi_ / norm_b_ : phi_;
    if (phi_ == 0) result_.Ar_norm = 0;
    result_.x_norm = space_.norm(x_);
    result_.A_norm = A_norm_;
    if (k_ > 0) result_.condition = A_norm_ / smallest_;
    return std::move(result_);
  }

  const LinearOperator& A_;
  const VectorSpace& space_;
  const MinresOptions& options_;
  MinresResult result_;
  Tensor x_, r_, v_, v_before_, d_, d_before_;
  double norm_b_, phi_ = 0, beta_ = 0, c_ = -1, s_ = 0, delta_next_ = 0, epsilon_next_ = 0;
  double A_norm_ = 0, x_norm_ = 0, least_squares_;
  double smallest_ = std::numeric_limits<double>::infinity();  // an upper bound on 1 / norm(A^+)
  int64_t k_ = 0;                                              // iterations made
  bool stopped_ = false;
};

// x - (r'x / r'r) r
Tensor lifted(const VectorSpace& space, const Tensor& x, const Tensor& r) {
  return x.sub(r, space.dot(r, x) / space.dot(r, r));
}

// r = r* + e, e what A's range still holds of it: A e = A r, and x lacks z = A^+ e. Both systems are
// consistent, so that their solutions are shortest without lifting, and small, so that a few digits do.
bool refine(const LinearOperator& A, MinresResult& result, MinresOptions options) {
  const VectorSpace& space = A.domain();
  options.relative_tolerance = std::max(1e-4, 30 * std::sqrt(space.epsilon()));
  options.absolute_tolerance = options.least_squares_tolerance = 0;
  options.stop_at_negative_curvature = false;
  auto e = Minres(A, A.apply(result.residual), options).run();
  result.products += 1 + e.products;
  if (e.stop != MinresStop::residual) return false;
  auto z = Minres(A, e.x, options).run();
  result.products += z.products;
  if (z.stop != MinresStop::residual) return false;
  result.residual = result.residual - e.x;
  result.Ar_norm = e.residual_norm;
  result.x = lifted(space, result.x, result.residual) + z.x;
  return true;
}

void shorten(const LinearOperator& A, MinresResult& result, const MinresOptions& options) {
  const VectorSpace& space = A.domain();
  if (!options.refine || !refine(A, result, options)) {
    result.x = lifted(space, result.x, result.residual);
    if (options.refine) result.message += "; not refined";
  }
  result.x_norm = space.norm(result.x);
}

}  // namespace

std::string_view to_string(MinresStop stop) {
  switch (stop) {
    case MinresStop::residual:
      return "residual";
    case MinresStop::least_squares:
      return "least_squares";
    case MinresStop::precision:
      return "precision";
    case MinresStop::negative_curvature:
      return "negative_curvature";
    case MinresStop::iterations:
      return "iterations";
    case MinresStop::interrupted:
      return "interrupted";
    case MinresStop::non_finite:
      return "non_finite";
  }
  return "?";
}

void MinresOptions::check() const {
  require_at_least("max_iterations", static_cast<double>(max_iterations), 0);
  require_non_negative("relative_tolerance", relative_tolerance);
  require_non_negative("absolute_tolerance", absolute_tolerance);
  require_between("least_squares_tolerance", least_squares_tolerance, -1, 1);
}

MinresResult minres(const LinearOperator& A, const Tensor& b, const MinresOptions& options) {
  options.check();
  require_symmetric("minres", A);
  require_fits("minres", A, b, "b");
  at::NoGradGuard no_grad;
  auto result = Minres(A, b, options).run();
  if (result.stop == MinresStop::least_squares && result.A_norm > 0) shorten(A, result, options);
  return result;
}

}  // namespace osculant
