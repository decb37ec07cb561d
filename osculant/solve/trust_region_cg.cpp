#include "osculant/solve/trust_region_cg.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "osculant/base/error.h"
#include "osculant/base/text.h"

namespace osculant {
namespace {

class TrustRegionCg {
 public:
  TrustRegionCg(const LinearOperator& A, const Tensor& g, const TrustRegionCgOptions& options)
      : A_(A), space_(A.domain()), options_(options), norm_g_(space_.norm(g)), residual_norm_(norm_g_) {
    p_ = at::zeros_like(g);
    r_ = g.clone();
    precondition();
    rho_ = dd_ = space_.dot(r_, z_);
    d_ = z_.neg();
  }

  TrustRegionResult run() {
    while (!finished()) iterate();
    result_.p = p_;
    result_.iterations = i_;
    result_.residual_norm = residual_norm_;
    result_.model_change = model_;
    result_.norm = result_.on_boundary() ? options_.radius : std::sqrt(pp_);
    return std::move(result_);
  }

 private:
  void precondition() { z_ = options_.preconditioner ? options_.preconditioner->apply(r_) : r_; }

  void stop(TrustRegionStop reason, std::string message) {
    stopped_ = true;
    result_.stop = reason;
    result_.message = std::move(message);
  }

  bool finished() {
    if (stopped_) return true;
    double threshold = std::max(options_.relative_tolerance * norm_g_, options_.absolute_tolerance);
    if (!std::isfinite(residual_norm_) || !std::isfinite(rho_))
      stop(TrustRegionStop::non_finite,
           fmt::format("iteration {}: norm(r) = {}, r'z = {}", i_, residual_norm_, rho_));
    else if (residual_norm_ <= threshold)
      stop(TrustRegionStop::residual,
           fmt::format("norm(r) = {} <= {} = max({} * norm(g), {}), inside the region",
                       format_number(residual_norm_), format_number(threshold), options_.relative_tolerance,
                       options_.absolute_tolerance));
    else if (i_ >= options_.max_iterations)
      stop(TrustRegionStop::iterations, fmt::format("{} iterations made; norm(r) = {} * norm(g)", i_,
                                                    format_number(residual_norm_ / norm_g_)));
    else if (i_ > 0 && options_.progress && !options_.progress({i_, residual_norm_}))
      stop(TrustRegionStop::interrupted, fmt::format("interrupted after {} iterations", i_));
    return stopped_;
  }

  void iterate() {
    Tensor Ad = A_.apply(d_);
    double curvature = space_.dot(d_, Ad);
    ++i_;
    if (!std::isfinite(curvature))
      return stop(TrustRegionStop::non_finite, fmt::format("iteration {}: d'Ad = {}", i_, curvature));
    if (curvature <= 0) {
      double norm = space_.norm(d_);
      result_.direction = d_ / norm;
      result_.curvature = curvature / (norm * norm);
      leave(curvature);
      return stop(TrustRegionStop::negative_curvature,
                  fmt::format("iteration {}: d'Ad / d'd = {} <= 0; on the boundary, radius {}", i_,
                              format_number(result_.curvature), format_number(options_.radius)));
    }
    double alpha = rho_ / curvature, next = pp_ + 2 * alpha * pd_ + alpha * alpha * dd_;
    if (next >= options_.radius * options_.radius) {
      leave(curvature);
      return stop(TrustRegionStop::boundary,
                  fmt::format("iteration {}: norm(p) = {} >= {}, the radius", i_,
                              format_number(std::sqrt(next)), format_number(options_.radius)));
    }
    p_.add_(d_, alpha);
    r_.add_(Ad, alpha);
    model_ -= alpha * rho_ / 2;  // g'p + p'Ap/2 falls by alpha r'z / 2
    residual_norm_ = space_.norm(r_);
    precondition();
    double rho = options_.preconditioner ? space_.dot(r_, z_) : residual_norm_ * residual_norm_;
    double beta = rho / rho_;
    // p'Mp, p'Md and d'Md of the new p and d (Conn, Gould & Toint 2000, eq. 7.5.5 to 7.5.7).
    pp_ = next;
    pd_ = beta * (pd_ + alpha * dd_);
    dd_ = rho + beta * beta * dd_;
    rho_ = rho;
    d_.mul_(beta).sub_(z_);
  }

  // p + tau d on the boundary: tau >= 0 with tau^2 d'Md + 2 tau p'Md + p'Mp = radius^2.
  void leave(double curvature) {
    double room = std::max(0.0, options_.radius * options_.radius - pp_);
    double root = std::sqrt(pd_ * pd_ + dd_ * room);
    double tau = pd_ > 0 ? room / (pd_ + root) : (root - pd_) / dd_;
    p_.add_(d_, tau);
    model_ += -tau * rho_ + tau * tau * curvature / 2;  // r'd = -r'z
  }

  const LinearOperator& A_;
  const VectorSpace& space_;
  const TrustRegionCgOptions& options_;
  TrustRegionResult result_;
  Tensor p_, r_, z_, d_;
  double norm_g_, residual_norm_, rho_ = 0, model_ = 0;
  double pp_ = 0, pd_ = 0, dd_ = 0;  // p'Mp, p'Md, d'Md
  int64_t i_ = 0;
  bool stopped_ = false;
};

}  // namespace

std::string_view to_string(TrustRegionStop stop) {
  switch (stop) {
    case TrustRegionStop::residual:
      return "residual";
    case TrustRegionStop::boundary:
      return "boundary";
    case TrustRegionStop::negative_curvature:
      return "negative_curvature";
    case TrustRegionStop::iterations:
      return "iterations";
    case TrustRegionStop::interrupted:
      return "interrupted";
    case TrustRegionStop::non_finite:
      return "non_finite";
  }
  return "?";
}

void TrustRegionCgOptions::check() const {
  require_positive("radius", radius);
  require_at_least("max_iterations", static_cast<double>(max_iterations), 0);
  require_non_negative("relative_tolerance", relative_tolerance);
  require_non_negative("absolute_tolerance", absolute_tolerance);
}

TrustRegionResult trust_region_cg(const LinearOperator& A, const Tensor& g,
                                  const TrustRegionCgOptions& options) {
  options.check();
  require_symmetric("trust_region_cg", A);
  require_fits("trust_region_cg", A, g, "g");
  at::NoGradGuard no_grad;
  return TrustRegionCg(A, g, options).run();
}

}  // namespace osculant
