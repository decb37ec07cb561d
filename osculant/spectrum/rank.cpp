#include "osculant/spectrum/rank.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "osculant/base/error.h"
#include "osculant/base/text.h"
#include "osculant/spectrum/ritz.h"

namespace osculant {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kRankOne = 0.99;

double x_log_x(double x) {
  return x > 0 ? x * std::log(x) : 0;
}

class RankEstimate {
 public:
  RankEstimate(const LinearOperator& A, const RankOptions& options, const EigenResult* pairs)
      : A_(A), options_(options), pairs_(pairs), before_(A.products()) {
    result_.size = A.cols();
    result_.name = A.name();
    result_.confidence = options.confidence;
    result_.upper_bound = options.upper_bound;
    result_.threshold =
        options.threshold > 0 ? options.threshold : default_rank_threshold(A.cols(), A.domain());
  }

  RankResult run() {
    if (result_.size <= options_.sample.dense_limit) {
      sample_ = sample_spectrum(A_, sample_options());
      measure_exact_norms();
    } else {
      find_pairs();
      measure_norms();
      sample_ = sample_spectrum(A_, sample_options(), deflation_is_sharp() ? pairs_ : nullptr);
    }
    result_.exact = sample_.exact;
    result_.how = sample_.how();
    compare_norms();
    count();
    spread();
    result_.products = A_.products() - before_;
    return std::move(result_);
  }

 private:
  SampleOptions sample_options() const {
    SampleOptions sample = options_.sample;
    sample.seed = options_.seed;
    return sample;
  }

  double n() const { return static_cast<double>(result_.size); }

  void measure_exact_norms() {
    if (!sample_.usable()) return unknown_norms();
    double squares = 0;
    for (double l : sample_.known) squares += l * l;
    double norm = std::sqrt(squares);
    result_.frobenius = {norm, norm, norm};
    result_.spectral = {sample_.scale, sample_.scale, sample_.scale};
  }

  void unknown_norms() { result_.frobenius = result_.spectral = {std::nan(""), 0, kInfinity}; }

  void find_pairs() {
    if (pairs_ && pairs_->target != EigenTarget::largest && pairs_->target != EigenTarget::smallest) return;
    EigenOptions options;
    options.count = options_.eigenvalues;
    options.target = EigenTarget::dominant;
    options.tolerance = options_.tolerance;
    options.noise_floor = options_.sample.noise_floor;
    options.basis_bytes = options_.sample.basis_bytes;
    options.dense_limit = 0;
    options.seed = options_.seed;
    if (const auto& progress = options_.sample.progress)
      options.progress = [&](const EigenProgress& state) { return progress(state.products); };
    found_ = eigenpairs(A_, options);
    pairs_ = &found_;
  }

  void measure_norms() {
    if (pairs_->values.numel() == 0) return unknown_norms();
    result_.spectral = spectral_norm(*pairs_);
    result_.miss_probability = pairs_->miss_probability();
    result_.frobenius =
        frobenius_norm(A_, {options_.norm_probes, options_.confidence, options_.seed}, pairs_);
  }

  // Whether eigenvalues near the threshold stay apart from 0 under what the pairs' residuals leave open.
  bool deflation_is_sharp() const {
    return pairs_->values.numel() > 0 &&
           pairs_->pairing_bound <= 0.1 * result_.threshold * result_.spectral.low;
  }

  void compare_norms() {
    result_.stable = stable_rank(result_.frobenius, result_.spectral);
    if (!(result_.stable.value > 0)) {
      result_.dominance = result_.stable;
      result_.rank_one = result_.stable.exact() ? Answer::no : Answer::unknown;
      return;
    }
    result_.dominance = {1 / result_.stable.value, 1 / result_.stable.high, 1 / result_.stable.low};
    result_.rank_one = result_.dominance.low >= kRankOne   ? Answer::yes
                       : result_.dominance.high < kRankOne ? Answer::no
                                                           : Answer::unknown;
  }

  void count() {
    const Measured& two = result_.spectral;
    if (!std::isfinite(two.value)) {
      result_.numerical = {std::nan(""), 0, result_.size};
      return;
    }
    double low_cutoff = result_.threshold * two.low, high_cutoff = result_.threshold * two.high;
    EigenvalueCount most = count_beyond(sample_, low_cutoff, options_.confidence);
    EigenvalueCount least =
        high_cutoff == low_cutoff ? most : count_beyond(sample_, high_cutoff, options_.confidence);
    result_.numerical = {count_beyond(sample_, result_.threshold * two.value, options_.confidence).value,
                         least.low, most.high};
    if (!sample_.exact) cut_to_pairs(low_cutoff, high_cutoff);
  }

  // Each pair has an eigenvalue of its own within the pairing bound; where the search for missed ones was
  // made none is beyond the innermost found by more than the margin, but with miss_probability.
  void cut_to_pairs(double low_cutoff, double high_cutoff) {
    auto values = to_vector(pairs_->values);
    double bound = pairs_->pairing_bound;
    int64_t proven = std::count_if(values.begin(), values.end(),
                                   [&](double l) { return std::abs(l) - bound > high_cutoff; });
    int64_t possible = std::count_if(values.begin(), values.end(),
                                     [&](double l) { return std::abs(l) + bound > low_cutoff; });
    EigenvalueCount& numerical = result_.numerical;
    numerical.low = std::max(numerical.low, proven);
    if (innermost(values) + pairs_->missed_margin() <= low_cutoff && pairs_->checked)
      numerical.high = std::min(numerical.high, possible);
    if (result_.upper_bound >= 0) numerical.high = std::min(numerical.high, result_.upper_bound);
    numerical.high = std::max(numerical.high, numerical.low);
    if (std::isfinite(numerical.value))
      numerical.value = std::clamp(numerical.value, static_cast<double>(numerical.low),
                                   static_cast<double>(numerical.high));
  }

  // No eigenvalue that was not found has a larger magnitude, but for the margin.
  double innermost(const std::vector<double>& values) const {
    if (values.empty() || !pairs_->converged()) return kInfinity;
    if (pairs_->target == EigenTarget::dominant) return std::abs(values.back());
    return std::max(std::abs(values[pairs_->largest_count - 1]), std::abs(values.back()));
  }

  // With x = abs(l) / scale, a = sum x, b = sum x log x, c = sum x^2: entropy = log a - b / a.
  void spread() {
    double scale = sample_.scale;
    if (sample_.usable() && scale == 0) {
      result_.effective = result_.participation = {0, 0, 0};
      return;
    }
    auto size = [scale](double l) { return std::abs(l) / scale; };
    FunctionSample a = sample_function(sample_, {size, {0}});
    FunctionSample b = sample_function(sample_, {[size](double l) { return x_log_x(size(l)); },
                                                 {-scale / std::exp(1), 0, scale / std::exp(1)}});
    FunctionSample c = sample_function(sample_, {[size](double l) { return size(l) * size(l); }, {0}});
    // The Gauss rule is exact for a square.
    double rounding = 2 * sample_.total_shift / scale;
    c.below = std::min(c.below, rounding);
    c.above = std::min(c.above, rounding);
    using Values = std::vector<double>;
    Measured entropy = function_of_traces(
        {a, b}, [](const Values& x) { return x[0] > 0 ? std::log(x[0]) - x[1] / x[0] : 0; },
        options_.confidence);
    result_.effective = clipped({std::exp(entropy.value), std::exp(entropy.low), std::exp(entropy.high)});
    result_.participation = clipped(function_of_traces(
        {a, c}, [](const Values& x) { return x[1] > 0 ? x[0] * x[0] / x[1] : 1; }, options_.confidence));
  }

  Measured clipped(Measured x) const {
    return {std::isfinite(x.value) ? std::clamp(x.value, 1.0, n()) : x.value, std::clamp(x.low, 1.0, n()),
            std::clamp(x.high, 1.0, n())};
  }

  const LinearOperator& A_;
  const RankOptions& options_;
  const EigenResult* pairs_;
  EigenResult found_;
  SpectralSample sample_;
  RankResult result_;
  int64_t before_;
};

std::string with_interval(const Measured& x) {
  if (!std::isfinite(x.value)) return "unknown";
  if (format_number(x.low) == format_number(x.high)) return format_number(x.value);
  return fmt::format("{} in [{}, {}]", format_number(x.value), format_number(x.low), format_number(x.high));
}

std::string rank_one_words(const RankResult& result) {
  std::string share =
      with_interval({100 * result.dominance.value, 100 * result.dominance.low, 100 * result.dominance.high});
  switch (result.rank_one) {
    case Answer::yes:
      return fmt::format("Of rank one: the largest eigenvalue has {} % of norm_F^2.", share);
    case Answer::no:
      return fmt::format("Not of rank one: the largest eigenvalue has {} % of norm_F^2.", share);
    case Answer::unknown:
      break;
  }
  return fmt::format("Whether of rank one cannot be told: the largest eigenvalue has {} % of norm_F^2.",
                     share);
}

}  // namespace

std::string_view to_string(Answer answer) {
  switch (answer) {
    case Answer::no:
      return "no";
    case Answer::yes:
      return "yes";
    case Answer::unknown:
      return "unknown";
  }
  return "?";
}

double default_rank_threshold(int64_t n, const VectorSpace& space) {
  double u = space.epsilon();
  return std::max(static_cast<double>(n) * u, u < 1e-12 ? 1e-9 : 1e-5);
}

void RankOptions::check() const {
  require_between("threshold", threshold, 0, 1);
  require_at_least("eigenvalues", static_cast<double>(eigenvalues), 1);
  require_positive("tolerance", tolerance);
  require_at_least("norm_probes", static_cast<double>(norm_probes), 2);
  require_inside("confidence", confidence, 0, 1);
  sample.check();
}

std::string RankResult::report() const {
  std::string number =
      numerical.exact() ? format_count(numerical.low)
                        : fmt::format("{} to {}", format_count(numerical.low), format_count(numerical.high));
  std::string bound =
      upper_bound >= 0 ? fmt::format("; at most {} by theory", format_count(upper_bound)) : "";
  std::string text = fmt::format("rank of {} (n = {}): {} eigenvalues beyond {} of the largest{}\n", name,
                                 format_count(size), number, format_number(threshold), bound);
  text += fmt::format("  stable rank {}, effective rank {}, participation ratio {}\n", with_interval(stable),
                      with_interval(effective), with_interval(participation));
  text += fmt::format("  {}\n  ", rank_one_words(*this));
  if (!exact)
    text += fmt::format("{:g} % intervals; probability that the largest was missed <= {}. ", 100 * confidence,
                        format_number(miss_probability));
  return text + fmt::format("{}; {} products\n", how, format_count(products));
}

Measured stable_rank(const Measured& frobenius, const Measured& spectral) {
  auto square = [](double x) { return x * x; };
  if (!(spectral.value > 0) || !std::isfinite(frobenius.value))
    return spectral.high == 0 ? Measured{0, 0, 0} : Measured{std::nan(""), 0, kInfinity};
  return {std::max(1.0, square(frobenius.value / spectral.value)),
          std::max(1.0, square(frobenius.low / spectral.high)), square(frobenius.high / spectral.low)};
}

RankResult rank(const LinearOperator& A, const RankOptions& options, const EigenResult* pairs) {
  options.check();
  if (!A.symmetric()) fail_usage(fmt::format("rank: {} is not declared symmetric", A.name()));
  return RankEstimate(A, options, pairs).run();
}

}  // namespace osculant
