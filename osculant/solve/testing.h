// Matrices with known spectra, for the tests of this folder.
#pragma once

#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "osculant/base/random.h"

namespace osculant::testing {

// A dense symmetric matrix with the given eigenvalues and random eigenvectors.
inline at::Tensor matrix_with(const at::Tensor& eigenvalues, uint64_t seed) {
  int64_t n = eigenvalues.size(0);
  at::Tensor Q = std::get<0>(at::linalg_qr(RandomStream(seed, "matrix").normal({n, n}, at::kDouble)));
  return Q.mm(at::diag(eigenvalues)).mm(Q.t());
}

inline at::Tensor random_vector(int64_t n, uint64_t seed) {
  return RandomStream(seed, "vector").normal({n}, at::kDouble);
}

inline double inner_product(const at::Tensor& x, const at::Tensor& y) {
  return x.dot(y).item<double>();
}

inline double length(const at::Tensor& x) {
  return x.norm().item<double>();
}

struct Spectrum {
  std::string name;
  at::Tensor eigenvalues;  // float64
};

// What a solver for any symmetric system has to bear.
inline std::vector<Spectrum> spectra() {
  auto d = at::kDouble;
  at::Tensor zeros = at::zeros({10}, d);
  return {{"definite", at::linspace(1, 10, 40, d)},
          {"ill-conditioned", at::logspace(-4, 0, 40, 10, d)},
          {"singular", at::cat({at::linspace(0.1, 10, 30, d), zeros})},
          {"indefinite", at::cat({at::linspace(-5, -0.5, 20, d), at::linspace(0.5, 10, 20, d)})},
          {"singular and indefinite",
           at::cat({at::linspace(-3, -0.3, 10, d), at::linspace(0.2, 10, 20, d), zeros})},
          {"rank one", at::cat({at::full({1}, 3.0, d), zeros})},
          {"negative definite", at::linspace(-10, -1, 20, d)},
          {"one number", at::full({1}, -2.0, d)},
          {"zero", zeros}};
}

}  // namespace osculant::testing
