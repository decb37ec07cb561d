#pragma once

#include <memory>

#include "osculant/linop/linear_operator.h"
#include "osculant/objective/linearization.h"

namespace osculant {

// Curvature matrices as operators on R^n, over all data of an objective at the theta they were made at. They
// hold a Linearization; once theta moves, apply throws.

// H, the second derivative of the whole objective. Symmetric, in general indefinite.
class Hessian : public LinearOperator {
 public:
  explicit Hessian(const Objective& objective);
  explicit Hessian(std::shared_ptr<Linearization> linearization);  // made with Needs{.hessian = true}
  bool symmetric() const override { return true; }
  Linearization& linearization() const { return *linearization_; }

 protected:
  Tensor apply_block(const Tensor& X) const override;

 private:
  std::shared_ptr<Linearization> linearization_;
};

// G = J' (d2 l / dz2) J over the data terms (Schraudolph 2002). Positive semidefinite for losses convex in
// the outputs; equal to the Fisher matrix for those that are negative log likelihoods of an exponential
// family.
class GaussNewton : public LinearOperator {
 public:
  explicit GaussNewton(const Objective& objective);
  explicit GaussNewton(
      std::shared_ptr<Linearization> linearization);  // made with Needs{.gauss_newton = true}
  bool symmetric() const override { return true; }
  bool positive_semidefinite() const override;
  Linearization& linearization() const { return *linearization_; }

 protected:
  Tensor apply_block(const Tensor& X) const override;

 private:
  std::shared_ptr<Linearization> linearization_;
};

// A symmetric operator as a dense matrix, symmetrised, with how far it was from symmetric.
struct DenseMatrix {
  Tensor matrix;         // [n, n]
  double asymmetry = 0;  // norm_F(A - A') / norm_F(A) before it was symmetrised: a measure of rounding
};
// Refuses n > limit with Error(memory) naming both.
DenseMatrix dense(const LinearOperator& A, int64_t limit = 5000);

}  // namespace osculant
