#pragma once

#include <memory>

#include "osculant/linop/linear_operator.h"
#include "osculant/objective/linearization.h"

namespace osculant {

// R^n as an objective's parameters live in it.
VectorSpace parameter_space(const Objective& objective);

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

// H - G of the data terms: the sum over outputs of (dl/dz) d2z/dtheta2, what Gauss-Newton leaves out (the
// functional part of Singh, Bachmann & Hofmann 2021). Symmetric, in general indefinite; zero where the
// network is linear in theta or fits its data exactly. A product costs one with H and one with G.
class FunctionalPart : public LinearOperator {
 public:
  explicit FunctionalPart(const Objective& objective);
  bool symmetric() const override { return true; }

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
