#include "osculant/spectrum/trace_plan.h"

#include <algorithm>
#include <cmath>

namespace osculant {
namespace {

constexpr int64_t kStep = 8;  // between the numbers of columns that are compared

template <class Cost>
int64_t least(const std::vector<int64_t>& list, Cost cost) {
  return *std::min_element(list.begin(), list.end(), [&](int64_t a, int64_t b) { return cost(a) < cost(b); });
}

// Two products a column, and probes beside them.
int64_t columns_for(const TraceOptions& options) {
  int64_t M = options.products, few = FewestProbes::beside_sketch;
  switch (options.method) {
    case TraceMethod::hutchinson:
      return 0;
    case TraceMethod::deflated:
      return M / 3;
    case TraceMethod::xtrace:
      return (M - std::min(few, M / 3)) / 2;
    case TraceMethod::automatic:
      return M > FewestProbes::plain ? (M - few) / 2 : 0;
  }
  return 0;
}

}  // namespace

int64_t TracePlan::most_columns(const TraceOptions& options, const VectorSpace& space) {
  auto entry = static_cast<int64_t>(space.options().dtype().itemsize());
  int64_t columns_that_fit = options.sketch_bytes / (3 * entry * space.most_rows_held());
  return std::min(columns_for(options), columns_that_fit);
}

TracePlan::TracePlan(const TraceOptions& options, int64_t columns, const RunningMoments& samples,
                     const LeaveOneOut& sketch)
    : options_(options), columns_(static_cast<double>(columns)), samples_(samples), sketch_(sketch) {}

std::vector<int64_t> TracePlan::candidates() const {
  std::vector<int64_t> list{0};
  for (int64_t m = kStep; m < sketch_.columns(); m += kStep) list.push_back(m);
  if (sketch_.columns() > 0) list.push_back(sketch_.columns());
  return list;
}

// Of one sample with m columns deflated.
double TracePlan::variance_beside(int64_t m) const {
  return m == 0 ? samples_.variance() : 2 * sketch_.remainder(m);
}

// Still to be made until the interval is narrow enough. The columns that are not deflated are samples.
double TracePlan::products_needed(int64_t m) const {
  double t = student_quantile((1 + options_.confidence) / 2, 1e6);
  double allowed = options_.tolerance * std::abs(samples_.mean()) / t, deflated = static_cast<double>(m);
  auto fewest = static_cast<double>(m == 0 ? FewestProbes::plain : FewestProbes::to_stop);
  double samples = std::max(variance_beside(m) / (allowed * allowed), fewest);
  return deflated + std::max(0.0, samples - (columns_ - deflated));
}

int64_t TracePlan::cheapest() const {
  return least(candidates(), [&](int64_t m) { return products_needed(m); });
}

// A sketch may take a third of what the answer is expected to cost.
bool TracePlan::should_grow() const {
  if (options_.method != TraceMethod::automatic || options_.tolerance == 0) return true;
  return 3 * columns_ < columns_ + products_needed(cheapest());
}

int64_t TracePlan::columns_to_deflate() const {
  if (options_.tolerance == 0) return most_accurate();
  int64_t m = cheapest();
  bool affordable = columns_ + products_needed(m) <= static_cast<double>(options_.products);
  return affordable ? m : most_accurate();
}

// All M products spent, m columns leave M - 2m samples beside the m estimates of XTrace. Among those that
// promise an error within 2.5 % of the least, the narrowest interval.
int64_t TracePlan::most_accurate() const {
  auto samples = [&](int64_t m) { return static_cast<double>(options_.products - 2 * m); };
  auto of_value = [&](int64_t m) {
    return variance_beside(m) / (samples(m) + kWorthOfEstimate * static_cast<double>(m));
  };
  auto list = candidates();
  double best = of_value(least(list, of_value));
  std::erase_if(list, [&](int64_t m) { return of_value(m) > 1.05 * best; });
  return least(list, [&](int64_t m) { return variance_beside(m) / samples(m); });
}

}  // namespace osculant
