#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace osculant {

using at::Tensor;

// A basis that grows by one product at a time, and what Rayleigh-Ritz needs of it:
//
//   A V = V T + W C,   V [n, size] and W orthonormal, W'V = 0,
//
// to the accuracy the process keeps. An eigenpair (theta, s) of T has the residual norm(C s).
class KrylovProcess {
 public:
  virtual ~KrylovProcess() = default;

  // One product, one column more. False when the product is not finite; the state is then the one before.
  virtual bool extend() = 0;

  // V <- V S for S [size, l] whose columns are eigenvectors of T with these values; W stays.
  virtual void restart(const Tensor& S, const Tensor& values) = 0;

  // The next products are with the residuals of these eigenvectors of T, [size, k], as far as W allows a
  // choice.
  virtual void aim(const Tensor& S) { (void)S; }

  virtual int64_t size() const = 0;
  virtual bool full() const = 0;
  virtual bool exhausted() const = 0;                 // V spans everything there is: T's values are exact
  virtual Tensor projected() const = 0;               // T, float64 [size, size]
  virtual Tensor coupling() const = 0;                // C, float64 [width of W, size]
  virtual Tensor combine(const Tensor& S) const = 0;  // V S, [n, k]

  // A V S, [n, k], as the recurrence knows it, without a product: with everything that T leaves out.
  virtual Tensor known_product(const Tensor& S) const = 0;
};

}  // namespace osculant
