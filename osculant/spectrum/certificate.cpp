#include "osculant/spectrum/certificate.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>

namespace osculant {

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

double block_norm(const Tensor& gram) {
  if (gram.size(0) == 0) return 0;
  return std::sqrt(std::max(0.0, at::linalg_eigvalsh((gram + gram.t()) / 2).max().item<double>()));
}

}  // namespace osculant
