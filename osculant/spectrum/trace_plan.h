#pragma once

#include <cstdint>
#include <vector>

#include "osculant/spectrum/leave_one_out.h"
#include "osculant/spectrum/statistics.h"
#include "osculant/spectrum/trace.h"

namespace osculant {

// A t interval needs its mean to be nearly normal, which z'Az is not where few eigenvalues carry A. What a
// sketch leaves has many of like size: z'Bz is nearly normal, and a few norm(Bz)^2 tell its variance. Twenty,
// before the run may stop because of them.
struct FewestProbes {
  static constexpr int64_t plain = 30, beside_sketch = 10, to_stop = 20;
};

// An estimate of XTrace tells about as much as two thirds of an independent one (measured on power laws,
// clusters and a network: .61 to .77), since those of one sketch hang together.
inline constexpr double kWorthOfEstimate = 2.0 / 3;

// How large a sketch to draw, and how many of its columns to deflate, from what it has shown so far: the
// variance of its columns as plain samples, and what is left of A beside the first m of them.
class TracePlan {
 public:
  TracePlan(const TraceOptions& options, int64_t columns, const RunningMoments& samples,
            const LeaveOneOut& sketch);

  static int64_t most_columns(const TraceOptions& options, const VectorSpace& space);

  bool should_grow() const;  // a sketch below the most columns
  int64_t columns_to_deflate() const;

 private:
  std::vector<int64_t> candidates() const;
  double variance_beside(int64_t m) const;
  double products_needed(int64_t m) const;
  int64_t cheapest() const;
  int64_t most_accurate() const;

  const TraceOptions& options_;
  double columns_;
  const RunningMoments& samples_;
  const LeaveOneOut& sketch_;
};

}  // namespace osculant
