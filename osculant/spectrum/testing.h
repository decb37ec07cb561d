// Operators with known spectra, for the tests of this folder.
#pragma once

#include <torch/types.h>

#include <string>

#include "osculant/base/random.h"
#include "osculant/linop/operators.h"

namespace osculant::testing {

// The largest entry in magnitude; 0 of nothing.
inline double largest(const Tensor& x) {
  return x.numel() ? x.abs().max().item<double>() : 0;
}

// P diag(eigenvalues) P' in the given dtype, P the product of two random Householder reflections: all of its
// eigenpairs are known at O(n) a product.
inline OperatorPtr rotated_diagonal(const Tensor& eigenvalues, uint64_t seed,
                                    at::ScalarType dtype = at::kDouble) {
  RandomStream random(seed, "reflections");
  int64_t n = eigenvalues.numel();
  auto unit = [&] {
    Tensor u = random.normal({n}, at::kDouble);
    return (u / u.norm()).to(dtype);
  };
  Tensor u = unit(), w = unit(), d = eigenvalues.to(dtype).unsqueeze(1);
  auto reflect = [](const Tensor& u, const Tensor& X) { return X - at::outer(u * 2, X.t().mv(u)); };
  return function_operator(
      {n, at::TensorOptions(dtype)},
      [=](const Tensor& X) { return reflect(u, reflect(w, d * reflect(w, reflect(u, X)))); },
      "rotated diagonal");
}

// The same with eigenvectors drawn from all rotations, O(n^2) a product: those above are nearly unit vectors,
// which estimates from signs find easy.
inline OperatorPtr dense_with(const Tensor& eigenvalues, uint64_t seed, at::ScalarType dtype = at::kDouble) {
  int64_t n = eigenvalues.numel();
  Tensor Q = std::get<0>(at::linalg_qr(RandomStream(seed, "matrix").normal({n, n}, at::kDouble)));
  return dense_operator(Q.mm(at::diag(eigenvalues)).mm(Q.t()).to(dtype), true);
}

// 1, 2^-power, 3^-power, ...
inline Tensor power_law(int64_t n, double power) {
  return at::arange(1, n + 1, at::kDouble).pow(-power);
}

struct Spectrum {
  std::string name;
  Tensor eigenvalues;  // float64, in no order
};

inline Tensor cat(std::initializer_list<Tensor> parts) {
  return at::cat(at::TensorList(parts.begin(), parts.size()));
}

// Shapes that curvature matrices have, and that solvers stumble over.
inline std::vector<Spectrum> spectra(int64_t n) {
  auto options = at::kDouble;
  Tensor bulk = RandomStream(7, "bulk").normal({n - 10}, options) * 0.01;
  Tensor ten = at::linspace(1, 10, 10, options);
  return {{"uniform", at::linspace(-1, 1, n, options)},
          {"power law", at::arange(1, n + 1, options).pow(-1.5)},
          {"outliers above a bulk", cat({ten, bulk})},
          {"plus minus pairs", cat({ten.slice(0, 0, 5), -ten.slice(0, 0, 5) * 1.0001, bulk})},
          {"clusters", cat({10 + ten.slice(0, 0, 4) * 1e-6, -5 - ten.slice(0, 0, 6) * 1e-6, bulk})},
          {"gap", cat({ten * 0.1 + 100, bulk})}};
}

// Shapes that estimates from random vectors find easy, and hard.
inline std::vector<Spectrum> shapes(int64_t n) {
  auto options = at::kDouble;
  Tensor bulk = 0.1 + 0.01 * at::linspace(0, 1, n, options), i = at::arange(1, n + 1, options);
  Tensor noise = RandomStream(7, "noise").normal({n}, options) * 0.05;
  auto some = [&](int64_t count, double value) { return at::full({count}, value, options); };
  return {{"flat", 10 * bulk},
          {"slow power law", i.pow(-0.5)},
          {"power law", i.pow(-1.5)},
          {"clustered", cat({some(8, 20), some(8, -5), bulk.slice(0, 16)})},
          {"low rank + noise", cat({at::linspace(1, 10, 10, options), noise.slice(0, 10)})},
          {"plus minus pairs", cat({2 / i.slice(0, 0, n - n / 2), -1 / i.slice(0, 0, n / 2)})},
          {"multiple", cat({some(n / 3, 3), some(n / 3, -1), some(n - 2 * (n / 3), 0.5)})},
          {"rank one", cat({some(1, 4), some(n - 1, 0)})},
          {"zero", some(n, 0)}};
}

// Those of them of which 90 products or fewer do not tell everything.
inline std::vector<Spectrum> estimated_shapes(int64_t n) {
  auto list = shapes(n);
  list.resize(list.size() - 2);
  return list;
}

}  // namespace osculant::testing
