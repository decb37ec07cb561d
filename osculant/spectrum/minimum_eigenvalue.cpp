#include "osculant/spectrum/minimum_eigenvalue.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "osculant/base/error.h"
#include "osculant/base/random.h"
#include "osculant/base/text.h"
#include "osculant/spectrum/certificate.h"
#include "osculant/spectrum/lanczos.h"

namespace osculant {
namespace {

using Verdict = MinimumEigenvalueVerdict;

class Oracle {
 public:
  Oracle(const LinearOperator& H, const MinimumEigenvalueOptions& options)
      : H_(H),
        options_(options),
        random_(options.seed, "minimum eigenvalue"),
        lanczos_(H, {.capacity = capacity(H, options), .orthogonality = std::sqrt(H.domain().epsilon())},
                 random_) {
    result_.tolerance = options.tolerance;
  }

  MinimumEigenvalue run() {
    lanczos_.start();
    while (!decided_) step();
    if (lanczos_.size() > 0 && !result_.vector.defined()) result_.vector = lowest_vector();
    result_.products += lanczos_.steps();
    return std::move(result_);
  }

 private:
  static int64_t capacity(const LinearOperator& H, const MinimumEigenvalueOptions& options) {
    int64_t vector =
        H.domain().most_rows_held() * static_cast<int64_t>(H.domain().options().dtype().itemsize());
    return std::max<int64_t>(2, std::min({H.cols(), options.max_products, options.basis_bytes / vector - 1}));
  }

  void decide(Verdict verdict, std::string message) {
    decided_ = true;
    result_.verdict = verdict;
    result_.message = std::move(message);
  }

  void step() {
    if (!lanczos_.extend()) {
      if (lanczos_.size() > 0) look();
      return decide(Verdict::unknown, fmt::format("product {} was not finite", lanczos_.steps() + 1));
    }
    int64_t q = lanczos_.steps();
    bool interrupted = options_.progress && !options_.progress(q);
    bool last = lanczos_.full() || lanczos_.exhausted() || interrupted;
    if (!last && q > 20 && q % (q / 10) != 0) return;
    look();
    double bottom = result_.value, tolerance = options_.tolerance;
    auto value = format_number(bottom), probability = format_number(result_.failure_probability);
    if (bottom <= -tolerance / 2 && bottom < -noise_)
      decide_negative();
    else if (noise_ < tolerance && result_.failure_probability <= options_.failure_probability)
      decide(Verdict::certified,
             fmt::format("smallest eigenvalue >= -{}{}; lowest seen {} after {} products", tolerance,
                         result_.failure_probability > 0 ? " except with probability " + probability : "",
                         value, q));
    else if (last)
      decide(
          Verdict::unknown,
          noise_ >= tolerance
              ? fmt::format("a product is off by about {}, more than the tolerance {}", format_number(noise_),
                            tolerance)
              : fmt::format(
                    "{} after {} products; lowest seen {}, an eigenvalue < -{} is missing with probability "
                    "up to {}",
                    interrupted ? "interrupted" : "stopped", q, value, tolerance, probability));
  }

  // By a product of its own: v'Hv is what it is, however the basis came about.
  void decide_negative() {
    result_.vector = lowest_vector();
    Tensor Hv = H_.apply(result_.vector);
    ++result_.products;
    double ritz = result_.value, curvature = H_.domain().dot(result_.vector, Hv);
    result_.value = curvature;
    auto value = format_number(curvature);
    if (curvature <= -options_.tolerance / 2)
      decide(
          Verdict::negative,
          fmt::format(
              "a direction with curvature {} was found, beyond half of the tolerance {}, after {} products",
              value, options_.tolerance, lanczos_.steps()));
    else
      decide(Verdict::unknown,
             fmt::format("the Ritz value {} belongs to a direction with curvature {} after {} products",
                         format_number(ritz), value, lanczos_.steps()));
  }

  Tensor lowest_vector() const {
    Tensor v = lanczos_.combine(lowest_.unsqueeze(1)).squeeze(1);
    return v / H_.domain().norm(v);
  }

  void look() {
    auto [theta, S] = at::linalg_eigh(lanczos_.projected());
    lowest_ = S.select(1, 0);
    result_.value = theta[0].item<double>();
    result_.norm_bound = std::max({options_.norm_bound, lanczos_.scale(), theta[-1].item<double>()});
    noise_ = 10 * H_.domain().epsilon() * lanczos_.scale();
    // Of l_max I - H: an eigenvalue beyond l_max + eps where Lanczos has seen l_max - theta.
    double error = shifted_relative_error(options_.tolerance - noise_, -result_.value, -result_.norm_bound);
    result_.failure_probability = lanczos_.exhausted() && result_.value > -options_.tolerance
                                      ? 0
                                      : lanczos_failure_probability(H_.cols(), error, lanczos_.steps());
  }

  const LinearOperator& H_;
  const MinimumEigenvalueOptions& options_;
  RandomStream random_;
  Lanczos lanczos_;
  MinimumEigenvalue result_;
  Tensor lowest_;  // of the projected matrix, float64 [q]
  double noise_ = 0;
  bool decided_ = false;
};

}  // namespace

std::string_view to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::certified:
      return "certified";
    case Verdict::negative:
      return "negative";
    case Verdict::unknown:
      return "unknown";
  }
  return "?";
}

void MinimumEigenvalueOptions::check() const {
  require_positive("tolerance", tolerance);
  require_positive("failure_probability", failure_probability);
  require_between("failure_probability", failure_probability, 0, 1);
  require_non_negative("norm_bound", norm_bound);
  require_at_least("max_products", static_cast<double>(max_products), 2);
  require_at_least("basis_bytes", static_cast<double>(basis_bytes), 0);
}

MinimumEigenvalue minimum_eigenvalue_oracle(const LinearOperator& H,
                                            const MinimumEigenvalueOptions& options) {
  options.check();
  if (!H.symmetric())
    fail_usage(fmt::format("minimum_eigenvalue_oracle: {} is not declared symmetric", H.name()));
  at::NoGradGuard no_grad;
  return Oracle(H, options).run();
}

}  // namespace osculant
