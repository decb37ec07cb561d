#include "osculant/solve/cubic_subproblem.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "osculant/base/error.h"
#include "osculant/base/text.h"

namespace osculant {
CubicSubproblem::CubicSubproblem(const LinearOperator& H, const Tensor& g, const CubicOptions& options)
    : H_(H),
      space_(H.domain()),
      options_((options.check(), options)),
      capacity_(std::min(options.max_iterations, H.cols())),
      norm_g_((require_symmetric("cubic_subproblem", H), require_fits("cubic_subproblem", H, g, "g"),
               space_.norm(g))) {
  at::NoGradGuard no_grad;
  basis_ = at::empty({capacity_ + 1, space_.local_size()}, space_.options());
  if (norm_g_ > 0) basis_[0].copy_(g / norm_g_);
}

CubicResult CubicSubproblem::solve(double sigma) {
  require_positive("sigma", sigma);
  at::NoGradGuard no_grad;
  result_ = {};
  u_ = at::zeros({0}, at::kDouble);
  stopped_ = false;
  sigma_ = sigma;
  if (norm_g_ == 0) stop(CubicStop::gradient, "g = 0");
  if (!std::isfinite(norm_g_)) stop(CubicStop::non_finite, fmt::format("norm(g) = {}", norm_g_));
  if (!stopped_ && !alpha_.empty()) look();
  while (!stopped_ && extend()) look();
  result_.p = basis_.narrow(0, 0, u_.size(0)).t().mv(u_.to(space_.options()));
  result_.multiplier = sigma * result_.norm;
  result_.quadratic_change = result_.model_change - sigma * std::pow(result_.norm, 3) / 3;
  return std::move(result_);
}

void CubicSubproblem::stop(CubicStop reason, std::string message) {
  stopped_ = true;
  result_.stop = reason;
  result_.message = std::move(message);
}

// The small problem costs m^3, and so after the first few is solved every so often.
void CubicSubproblem::look() {
  auto m = static_cast<int64_t>(alpha_.size());
  bool last = m == capacity_ || beta_.back() == 0, first = result_.iterations == 0;
  if (!last && !first && m > 10 && m % (m / 10 + 1) != 0) return;
  minimise();
  double tolerance = options_.relative_tolerance * std::min(1.0, result_.norm) * norm_g_;
  auto numbers = fmt::format("norm(gradient of the model) = {}, {} asked for; norm(p) = {}",
                             format_number(result_.gradient_norm), format_number(tolerance),
                             format_number(result_.norm));
  if (beta_.back() == 0)
    stop(CubicStop::exhausted, fmt::format("invariant space of {} dimensions; {}", m, numbers));
  else if (result_.gradient_norm <= tolerance)
    stop(CubicStop::gradient, numbers);
  else if (last)
    stop(CubicStop::iterations, fmt::format("{} iterations made; {}", m, numbers));
  else if (options_.progress && !options_.progress({m, result_.gradient_norm}))
    stop(CubicStop::interrupted, fmt::format("interrupted after {} iterations; {}", m, numbers));
}

// beta_j v_{j+1} = H v_j - alpha_j v_j - beta_{j-1} v_{j-1}, orthogonal to all before by two rounds of
// Gram-Schmidt.
bool CubicSubproblem::extend() {
  auto j = static_cast<int64_t>(alpha_.size());
  Tensor v = basis_[j], w = H_.apply(v);
  double alpha = space_.dot(v, w), size = space_.norm(w);
  if (!std::isfinite(alpha) || !std::isfinite(size)) {
    stop(CubicStop::non_finite, fmt::format("iteration {}: v'Hv = {}, norm(H v) = {}", j + 1, alpha, size));
    return false;
  }
  Tensor V = basis_.narrow(0, 0, j + 1);
  for (int round = 0; round < 2; ++round) w = w - V.t().mv(V.mv(w));
  double beta = space_.norm(w);
  scale_ = std::max({scale_, size, std::abs(alpha)});
  if (beta <= 10 * space_.epsilon() * scale_) beta = 0;
  if (beta > 0) basis_[j + 1].copy_(w / beta);
  alpha_.push_back(alpha);
  beta_.push_back(beta);
  ++result_.iterations;
  return true;
}

void CubicSubproblem::minimise() {
  auto m = static_cast<int64_t>(alpha_.size());
  Tensor T = at::diag(at::tensor(alpha_, at::kDouble));
  if (m > 1) {
    Tensor off = at::tensor(at::ArrayRef<double>(beta_.data(), m - 1), at::kDouble);
    T = T + at::diag(off, 1) + at::diag(off, -1);
  }
  auto [theta, S] = at::linalg_eigh(T);
  Tensor c = S[0] * norm_g_, y = minimise_cubic(theta, c, sigma_);
  u_ = S.mv(y);
  result_.norm = y.norm().item<double>();
  result_.model_change =
      (y.dot(c) + (theta * y * y).sum() / 2).item<double>() + sigma_ * std::pow(result_.norm, 3) / 3;
  result_.gradient_norm = beta_.back() * std::abs(u_[m - 1].item<double>());
  result_.lowest_ritz = theta[0].item<double>();
}

// With lambda = nu + max(0, -d_1) the stationary points with diag(d) + lambda I positive semidefinite are
// u_i = -c_i / (d_i + lambda) where norm(u) = lambda / sigma. norm(u) falls and lambda / sigma rises with nu,
// so that bisection finds nu, on a scale of logarithms since it may be tiny against d.
Tensor minimise_cubic(const Tensor& d, const Tensor& c, double sigma) {
  double floor = std::max(0.0, -d[0].item<double>());
  Tensor distance = d + floor;  // >= 0, and exactly 0 for the smallest where that is negative
  auto solution = [&](double nu) { return -c / (distance + nu); };
  auto excess = [&](double nu) { return solution(nu).norm().item<double>() - (nu + floor) / sigma; };
  double norm_c = c.norm().item<double>();
  if (norm_c == 0 && floor == 0) return at::zeros_like(c);
  // norm(u) <= norm(c) / nu, which is at most lambda / sigma at the upper end.
  double high = std::sqrt(sigma * norm_c), low = high * 1e-18;
  if (norm_c == 0 ||
      excess(low) <= 0) {  // the hard case: lambda = -d_1, and as much of that eigenvector as is lacking
    Tensor u = at::where(distance > 0, -c / distance, at::zeros_like(c));
    double lacking = std::pow(floor / sigma, 2) - u.dot(u).item<double>();
    u[0] = u[0].item<double>() + std::copysign(std::sqrt(std::max(0.0, lacking)), -c[0].item<double>());
    return u;
  }
  for (int i = 0; i < 200 && high / low > 1 + 1e-15; ++i) {
    double middle = std::sqrt(low * high);
    (excess(middle) > 0 ? low : high) = middle;
  }
  return solution(high);
}

std::string_view to_string(CubicStop stop) {
  switch (stop) {
    case CubicStop::gradient:
      return "gradient";
    case CubicStop::exhausted:
      return "exhausted";
    case CubicStop::iterations:
      return "iterations";
    case CubicStop::interrupted:
      return "interrupted";
    case CubicStop::non_finite:
      return "non_finite";
  }
  return "?";
}

void CubicOptions::check() const {
  require_positive("sigma", sigma);
  require_at_least("max_iterations", static_cast<double>(max_iterations), 1);
  require_positive("relative_tolerance", relative_tolerance);
}

CubicResult cubic_subproblem(const LinearOperator& H, const Tensor& g, const CubicOptions& options) {
  return CubicSubproblem(H, g, options).solve(options.sigma);
}

}  // namespace osculant
