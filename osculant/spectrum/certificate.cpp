#include "osculant/spectrum/certificate.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>

#include "osculant/spectrum/statistics.h"

namespace osculant {

double largest_weight_beyond(const Tridiagonal& T, double point) {
  double before = 0, current = 1, sum = 1, coupling = 0;
  for (size_t j = 0; j < T.diagonal.size() && sum < 1e200; ++j) {
    double next = ((point - T.diagonal[j]) * current - coupling * before) / T.off_diagonal[j];
    if (!(next > 0)) return 1;  // a Ritz value is at or above the point
    before = current;
    current = next;
    coupling = T.off_diagonal[j];
    sum += next * next;
  }
  return 1 / sum;
}

double escape_probability(int64_t n, const Tridiagonal& T, double point) {
  return random_entry_probability(n, largest_weight_beyond(T, point));
}

double lanczos_failure_probability(int64_t n, double relative_error, int64_t steps) {
  if (steps < 1 || !(relative_error > 0)) return 1;
  double exponent = std::sqrt(std::min(relative_error, 1.0)) * (2.0 * steps - 1);
  return std::min(1.0, 1.648 * std::sqrt(static_cast<double>(n)) * std::exp(-exponent));
}

int64_t lanczos_steps_for(int64_t n, double relative_error, double probability) {
  double exponent = std::log(1.648 * std::sqrt(static_cast<double>(n)) / probability);
  return std::max<int64_t>(1,
                           static_cast<int64_t>(std::ceil((exponent / std::sqrt(relative_error) + 1) / 2)));
}

double shifted_relative_error(double beyond, double ritz, double lowest) {
  double width = beyond - lowest;
  return width > 0 ? std::clamp((beyond - ritz) / width, 0.0, 1.0) : 0;
}

double frobenius_bound(double sum_of_squares, int64_t probes, double p) {
  double m = static_cast<double>(probes);
  return std::sqrt(sum_of_squares / (m * std::pow(p, 2 / m) / std::exp(1.0)));
}

double block_norm(const Tensor& gram) {
  if (gram.size(0) == 0) return 0;
  return std::sqrt(std::max(0.0, at::linalg_eigvalsh((gram + gram.t()) / 2).max().item<double>()));
}

}  // namespace osculant
