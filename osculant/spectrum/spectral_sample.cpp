#include "osculant/spectrum/spectral_sample.h"

#include <fmt/format.h>
#include <torch/autograd.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "osculant/base/error.h"
#include "osculant/base/random.h"
#include "osculant/base/text.h"
#include "osculant/spectrum/lanczos.h"
#include "osculant/spectrum/ritz.h"

namespace osculant {
namespace {

// That an eigenvalue lies outside of the ends stated.
constexpr double kOutsideProbability = 1e-6;

class Sampler {
 public:
  Sampler(const LinearOperator& A, const SampleOptions& options, const EigenResult* outliers)
      : A_(A),
        space_(A.domain()),
        options_(options),
        random_(options.seed, "spectral sample"),
        before_(A.products()) {
    sample_.size = A.cols();
    sample_.name = A.name();
    if (outliers && outliers->values.numel() > 0) outliers_ = outliers;
  }

  SpectralSample run() {
    if (sample_.size <= options_.dense_limit) {
      compute_all();
    } else {
      deflate();
      draw_probes();
      find_ends();
      allow_for_shifts();
    }
    sample_.products = spent();
    return std::move(sample_);
  }

 private:
  int64_t spent() const { return A_.products() - before_; }

  // ---- small operators ----

  void compute_all() {
    Tensor M = to_dense(A_).to(at::kCPU, at::kDouble);
    if (!M.isfinite().all().item<bool>()) {
      sample_.stop = SampleStop::non_finite;
      return;
    }
    sample_.known = to_vector(at::linalg_eigvalsh((M + M.t()) / 2));
    sample_.exact = true;
    sample_.stop = SampleStop::exact;
    auto bulk = without_outliers();
    if (!sample_.known.empty())
      sample_.scale = std::max(std::abs(sample_.known.front()), std::abs(sample_.known.back()));
    if (!bulk.empty()) {
      sample_.low = bulk.front();
      sample_.high = bulk.back();
    }
    // The rounding of products, what makes the matrix unsymmetric, at least u of its norm; that of the
    // eigensolver.
    double solver = 4 * std::sqrt(static_cast<double>(sample_.size)) * std::numeric_limits<double>::epsilon();
    double noise = std::max({((M - M.t()) / 2).norm().item<double>(), space_.epsilon() * sample_.scale,
                             solver * sample_.scale, options_.noise_floor * sample_.scale});
    sample_.shift = noise;
    sample_.total_shift = noise * std::sqrt(static_cast<double>(sample_.size));
  }

  // All eigenvalues but the nearest to each that was given.
  std::vector<double> without_outliers() const {
    std::vector<double> bulk = sample_.known;
    if (outliers_)
      for (double value : to_vector(outliers_->values)) {
        if (bulk.empty()) break;
        auto near = std::min_element(bulk.begin(), bulk.end(), [&](double a, double b) {
          return std::abs(a - value) < std::abs(b - value);
        });
        bulk.erase(near);
      }
    return bulk;
  }

  // ---- large operators ----

  void deflate() {
    if (!outliers_) return;
    sample_.known = to_vector(outliers_->values);
    std::sort(sample_.known.begin(), sample_.known.end());
    deflated_ = outliers_->vectors;
    sample_.scale = outliers_->scale;
  }

  LanczosSettings settings() const {
    auto entry = static_cast<int64_t>(space_.options().dtype().itemsize());
    int64_t bytes = space_.most_rows_held() * entry;
    int64_t most = std::max<int64_t>(options_.basis_bytes / bytes - 1, 2);
    int64_t capacity = std::min({options_.steps, most, std::max<int64_t>(sample_.rest(), 2)});
    bool stays_in_cache = capacity * sample_.size * entry <= int64_t{2} << 20;
    return {capacity, std::sqrt(space_.epsilon()), stays_in_cache};
  }

  void draw_probes() {
    if (sample_.rest() <= 0) return;
    Lanczos lanczos(A_, settings(), random_);
    for (int64_t i = 0; i < options_.probes && sample_.stop == SampleStop::done; ++i) {
      Tensor z = space_.normal(random_, 1).select(1, 0);
      if (deflated_.defined()) z = z - deflated_.mv(space_.coefficients(deflated_, z));
      double norm = space_.norm(z);
      if (lanczos.start_from(z, deflated_) && follow(lanczos)) {
        sample_.weights.push_back(norm * norm);
        sample_.probes.emplace_back(lanczos.first_cycle(), closed(lanczos));
        sample_.steps = std::max(sample_.steps, lanczos.size());
      }
    }
  }

  bool closed(const Lanczos& lanczos) const {
    return lanczos.first_cycle_closed() || lanczos.size() >= sample_.rest();
  }

  // False where the probe could not be finished.
  bool follow(Lanczos& lanczos) {
    while (!lanczos.full() && !closed(lanczos)) {
      if (options_.progress && !options_.progress(spent())) {
        sample_.stop = SampleStop::interrupted;
        return false;
      }
      if (!lanczos.extend()) {
        sample_.stop = SampleStop::non_finite;
        return false;
      }
    }
    return true;
  }

  // The ends of all Gauss rules, moved outwards until what lies beyond would have had to escape every one of
  // the independent probes.
  void find_ends() {
    if (sample_.probes.empty()) return;
    sample_.low = std::numeric_limits<double>::infinity();
    sample_.high = -sample_.low;
    bool all_exact = true;
    for (const auto& probe : sample_.probes) {
      sample_.low = std::min(sample_.low, probe.gauss().nodes.front());
      sample_.high = std::max(sample_.high, probe.gauss().nodes.back());
      all_exact = all_exact && probe.exact();
    }
    sample_.scale = std::max({sample_.scale, std::abs(sample_.low), std::abs(sample_.high)});
    if (all_exact) return;
    sample_.outside_probability = kOutsideProbability;
    double width = std::max(sample_.high - sample_.low, space_.epsilon() * sample_.scale);
    sample_.high += margin(sample_.high, width, 1);
    sample_.low -= margin(-sample_.low, width, -1);
  }

  double margin(double end, double width, double sign) const {
    for (double share = 1e-6; share < 1e3; share *= 1.3)
      if (escape_of_all(end + share * width, sign) <= kOutsideProbability / 2) return share * width;
    return 1e3 * width;
  }

  double escape_of_all(double point, double sign) const {
    double probability = 1;
    for (const auto& probe : sample_.probes) {
      Tridiagonal T = probe.recurrence();
      for (double& alpha : T.diagonal) alpha *= sign;
      probability *= escape_probability(sample_.rest(), T, point);
    }
    return probability;
  }

  // A - (U diag(l) U' + P A P) = R U' + U R' - (the part of R in the span, which vanishes for Ritz vectors):
  // a norm of norm_2(R), and singular values those of R, twice.
  void allow_for_shifts() {
    double n = static_cast<double>(sample_.size),
           rounding = std::max(options_.noise_floor,
                               4 * std::sqrt(static_cast<double>(sample_.steps)) * space_.epsilon()) *
                      sample_.scale;
    sample_.shift = rounding;
    sample_.total_shift = std::sqrt(n) * rounding;
    if (!outliers_) return;
    sample_.shift += outliers_->pairing_bound;
    sample_.total_shift += 2 * outliers_->residuals.sum().item<double>();
  }

  const LinearOperator& A_;
  const VectorSpace space_;
  const SampleOptions& options_;
  RandomStream random_;
  const EigenResult* outliers_ = nullptr;
  Tensor deflated_;
  SpectralSample sample_;
  int64_t before_;
};

}  // namespace

std::string_view to_string(SampleStop stop) {
  switch (stop) {
    case SampleStop::exact:
      return "exact";
    case SampleStop::done:
      return "done";
    case SampleStop::interrupted:
      return "interrupted";
    case SampleStop::non_finite:
      return "non_finite";
  }
  return "?";
}

void SampleOptions::check() const {
  require_at_least("steps", static_cast<double>(steps), 2);
  require_at_least("probes", static_cast<double>(probes), 2);
  require_non_negative("dense_limit", static_cast<double>(dense_limit));
  require_positive("basis_bytes", static_cast<double>(basis_bytes));
  require_non_negative("noise_floor", noise_floor);
}

std::string SpectralSample::how() const {
  if (exact) return fmt::format("all {} eigenvalues computed", format_count(size));
  std::string pairs = known.empty() ? "" : fmt::format(" beside {} eigenpairs", known.size());
  std::string cut = stop == SampleStop::done ? "" : fmt::format(", {}", to_string(stop));
  return fmt::format("{} probes of up to {} steps{}{}", probes.size(), steps, pairs, cut);
}

SpectralSample sample_spectrum(const LinearOperator& A, const SampleOptions& options,
                               const EigenResult* outliers) {
  options.check();
  if (!A.symmetric()) fail_usage(fmt::format("sample_spectrum: {} is not declared symmetric", A.name()));
  torch::NoGradGuard no_grad;
  return Sampler(A, options, outliers).run();
}

}  // namespace osculant
