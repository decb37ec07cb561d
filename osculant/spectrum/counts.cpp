#include "osculant/spectrum/counts.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "osculant/spectrum/statistics.h"

namespace osculant {
namespace {

// Weights below this, and above 1 less this, are rounding.
constexpr double kNoWeight = 1e-13;

// The smallest k in [first, last] with property(k), which once true stays so; last + 1 where none has it.
int64_t first_with(int64_t first, int64_t last, const std::function<bool(int64_t)>& property) {
  ++last;
  while (first < last) {
    int64_t middle = first + (last - first) / 2;
    if (property(middle))
      last = middle;
    else
      first = middle + 1;
  }
  return first;
}

// P(share of k out of N eigenvalues <= r) over q probes; 0 and N have no spread.
double share_probability(int64_t k, int64_t N, double q, double r) {
  if (k == 0) return 1;
  if (k == N) return r >= 1 - kNoWeight ? 1 : 0;
  return beta_probability(r, static_cast<double>(k) * q / 2, static_cast<double>(N - k) * q / 2);
}

// The k out of N that the pooled weights' bounds do not speak against.
EigenvalueCount count_of_rest(int64_t N, double q, double value, Enclosure share, double confidence) {
  double tail = (1 - confidence) / 2;
  EigenvalueCount count{value * static_cast<double>(N), 0, N};
  if (share.low > kNoWeight)
    count.low = first_with(
        1, N, [&](int64_t k) { return k == N || 1 - share_probability(k, N, q, share.low) > tail; });
  count.high =
      first_with(0, N, [&](int64_t k) { return share_probability(k, N, q, share.high) <= tail; }) - 1;
  count.high = std::max(count.high, count.low);
  return count;
}

// Sums over probes weigh each by norm(P z)^2.
struct Pooled {
  double value = 0, low = 0, high = 0, total = 0;
  void add(double weight, double one_value, Enclosure one) {
    value += weight * one_value;
    low += weight * one.low;
    high += weight * one.high;
    total += weight;
  }
};

EigenvalueCount conclude(const SpectralSample& sample, EigenvalueCount known, const Pooled& pooled,
                         double confidence) {
  if (!sample.usable()) return {std::nan(""), 0, sample.size};
  if (sample.rest() == 0) return known;
  EigenvalueCount rest =
      count_of_rest(sample.rest(), static_cast<double>(sample.probes.size()), pooled.value / pooled.total,
                    {pooled.low / pooled.total, pooled.high / pooled.total}, confidence);
  EigenvalueCount all{known.value + rest.value, known.low + rest.low, known.high + rest.high};
  all.value = std::clamp(all.value, static_cast<double>(all.low), static_cast<double>(all.high));
  return all;
}

// F at the next number below is F(t-).
double just_below(double t) {
  return std::nextafter(t, -std::numeric_limits<double>::infinity());
}

// Of ascending numbers, those <= t.
int64_t up_to(const std::vector<double>& ascending, double t) {
  return std::upper_bound(ascending.begin(), ascending.end(), t) - ascending.begin();
}

int64_t beyond(const std::vector<double>& ascending, double t) {
  return std::count_if(ascending.begin(), ascending.end(), [t](double x) { return std::abs(x) > t; });
}

}  // namespace

EigenvalueCount count_below(const SpectralSample& sample, double t, double confidence) {
  double shift = sample.shift;
  EigenvalueCount known{static_cast<double>(up_to(sample.known, t)), up_to(sample.known, t - shift),
                        up_to(sample.known, t + shift)};
  Pooled pooled;
  for (size_t i = 0; i < sample.probes.size(); ++i) {
    const ProbeMeasure& probe = sample.probes[i];
    pooled.add(sample.weights[i], probe.below(t),
               {probe.bounds_below(t - shift).low, probe.bounds_below(t + shift).high});
  }
  return conclude(sample, known, pooled, confidence);
}

EigenvalueCount count_beyond(const SpectralSample& sample, double t, double confidence) {
  double out = t + sample.shift, in = t - sample.shift;
  EigenvalueCount known{static_cast<double>(beyond(sample.known, t)), beyond(sample.known, out),
                        in < 0 ? static_cast<int64_t>(sample.known.size()) : beyond(sample.known, in)};
  Pooled pooled;
  for (size_t i = 0; i < sample.probes.size(); ++i) {
    const ProbeMeasure& probe = sample.probes[i];
    double low = probe.bounds_below(just_below(-out)).low + 1 - probe.bounds_below(out).high;
    double high =
        in < 0 ? 1 : std::min(1.0, probe.bounds_below(just_below(-in)).high + 1 - probe.bounds_below(in).low);
    double value = probe.below(just_below(-t)) + 1 - probe.below(t);
    pooled.add(sample.weights[i], value, {low, high});
  }
  return conclude(sample, known, pooled, confidence);
}

}  // namespace osculant
