#include "osculant/solve/capped_cg.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "osculant/base/error.h"
#include "osculant/base/text.h"

namespace osculant {
namespace {

// Letters as in the paper: A = H + 2 eps I (its H with a bar), y the iterate, r = A y + g, p the direction.
class CappedCg {
 public:
  CappedCg(const LinearOperator& H, const Tensor& g, const CappedCgOptions& options)
      : H_(H),
        space_(H.domain()),
        options_(options),
        g_(g),
        limit_(options.max_iterations > 0 ? options.max_iterations : H.cols()),
        norm_g_(space_.norm(g)),
        residual_norm_(norm_g_),
        norm_bound_(options.norm_bound) {
    y_ = at::zeros_like(g);
    r_ = g.clone();
    p_ = g.neg();
  }

  CappedCgResult run() {
    while (!finished()) iterate();
    if (!result_.d.defined()) set_direction(y_, r_ - g_);
    result_.iterations = j_;
    result_.norm_bound = norm_bound_;
    result_.residual_norm = residual_norm_;
    return std::move(result_);
  }

 private:
  void stop(CappedCgStop reason, std::string message) {
    stopped_ = true;
    result_.stop = reason;
    result_.message = std::move(message);
  }

  bool finished() {
    if (stopped_) return true;
    if (!std::isfinite(residual_norm_)) {
      stop(CappedCgStop::non_finite, fmt::format("iteration {}: norm(r) = {}", j_, residual_norm_));
    } else if (residual_norm_ <= share() * norm_g_) {
      stop(CappedCgStop::solution, fmt::format("norm(r) = {} <= {} * norm(g)", format_number(residual_norm_),
                                               format_number(share())));
    } else if (j_ >= limit_) {
      stop(CappedCgStop::iterations, fmt::format("{} iterations made; norm(r) = {} * norm(g)", j_,
                                                 format_number(residual_norm_ / norm_g_)));
    } else if (j_ > 0 && options_.progress && !options_.progress({j_, residual_norm_})) {
      stop(CappedCgStop::interrupted, fmt::format("interrupted after {} iterations", j_));
    }
    return stopped_;
  }

  // zeta / (3 kappa), kappa = (M + 2 eps) / eps
  double share() const {
    return options_.tolerance * options_.epsilon / (3 * (norm_bound_ + 2 * options_.epsilon));
  }

  void iterate() {
    Tensor Hp = H_.apply(p_);
    ++result_.products;
    double pp = space_.dot(p_, p_), pHp = space_.dot(p_, Hp);
    if (!std::isfinite(pHp))
      return stop(CappedCgStop::non_finite, fmt::format("iteration {}: p'Hp = {}", j_ + 1, pHp));
    raise_norm_bound(Hp, p_);
    if (j_ > 0) raise_norm_bound(Hp_before_.mul_(beta_).sub_(Hp), r_);  // r = beta p_{j-1} - p_j
    Tensor Ap = Hp.add(p_, 2 * options_.epsilon);
    double pAp = pHp + 2 * options_.epsilon * pp;
    if (pAp < options_.epsilon * pp) return leave(p_, Ap, "p");
    double rr = residual_norm_ * residual_norm_, alpha = rr / pAp;
    y_.add_(p_, alpha);
    r_.add_(Ap, alpha);
    residual_norm_ = space_.norm(r_);
    beta_ = residual_norm_ * residual_norm_ / rr;
    p_.mul_(beta_).sub_(r_);
    Hp_before_ = Hp;
    ++j_;
    watch_iterate();
  }

  // A y = r - g, so that the curvature along y and norm(H y) cost no product.
  void watch_iterate() {
    Tensor Ay = r_ - g_;
    raise_norm_bound(Ay.sub(y_, 2 * options_.epsilon), y_);
    double yy = space_.dot(y_, y_);
    if (space_.dot(y_, Ay) < options_.epsilon * yy) leave(y_, Ay, "y");
  }

  void raise_norm_bound(const Tensor& Hv, const Tensor& v) {
    double norm = space_.norm(v);
    if (norm > 0) norm_bound_ = std::max(norm_bound_, space_.norm(Hv) / norm);
  }

  void leave(const Tensor& d, const Tensor& Ad, const char* what) {
    set_direction(d, Ad);
    stop(CappedCgStop::negative_curvature,
         fmt::format("product {}: {}'H{} / {}'{} = {} < -{}", result_.products, what, what, what, what,
                     format_number(result_.curvature), format_number(options_.epsilon)));
  }

  void set_direction(const Tensor& d, const Tensor& Ad) {
    result_.d = d;
    double dd = space_.dot(d, d);
    if (dd > 0) result_.curvature = space_.dot(d, Ad) / dd - 2 * options_.epsilon;
    result_.slope = space_.dot(g_, d);
  }

  const LinearOperator& H_;
  const VectorSpace& space_;
  const CappedCgOptions& options_;
  const Tensor& g_;
  CappedCgResult result_;
  Tensor y_, r_, p_, Hp_before_;
  int64_t limit_, j_ = 0;
  double norm_g_, residual_norm_, norm_bound_, beta_ = 0;
  bool stopped_ = false;
};

}  // namespace

std::string_view to_string(CappedCgStop stop) {
  switch (stop) {
    case CappedCgStop::solution:
      return "solution";
    case CappedCgStop::negative_curvature:
      return "negative_curvature";
    case CappedCgStop::iterations:
      return "iterations";
    case CappedCgStop::interrupted:
      return "interrupted";
    case CappedCgStop::non_finite:
      return "non_finite";
  }
  return "?";
}

void CappedCgOptions::check() const {
  require_positive("epsilon", epsilon);
  require_positive("tolerance", tolerance);
  if (!(tolerance < 1)) fail_option("tolerance", fmt::format("{}", tolerance), "< 1");
  require_non_negative("norm_bound", norm_bound);
  require_at_least("max_iterations", static_cast<double>(max_iterations), 0);
}

CappedCgResult capped_cg(const LinearOperator& H, const Tensor& g, const CappedCgOptions& options) {
  options.check();
  require_symmetric("capped_cg", H);
  require_fits("capped_cg", H, g, "g");
  at::NoGradGuard no_grad;
  return CappedCg(H, g, options).run();
}

}  // namespace osculant
