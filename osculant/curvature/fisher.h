#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "osculant/linop/linear_operator.h"
#include "osculant/objective/linearization.h"

namespace osculant {

// The Fisher matrix, F = 1/N sum over examples of E[s s'], s the gradient of -log p(y | z) in theta and the
// expectation over targets y that the network itself would draw. It belongs to losses that are negative log
// likelihoods (Likelihood): cross entropy on labels, mse (a Gaussian), binary cross entropy, Poisson; the
// operators here are that matrix times the loss's scale, over the data terms, without regularisers.

// Throws Error(usage) unless every term's loss is a negative log likelihood and its targets, which are read
// once, could have been drawn; `what` begins the message.
void require_likelihood(const Objective& objective, const std::string& what);

// F, which equals the Gauss-Newton matrix of such losses (Martens 2020) and is computed as that: exact, no
// target is drawn. Positive semidefinite.
class Fisher : public LinearOperator {
 public:
  explicit Fisher(const Objective& objective);
  bool symmetric() const override { return true; }
  bool positive_semidefinite() const override { return true; }

 protected:
  Tensor apply_block(const Tensor& X) const override;

 private:
  std::shared_ptr<Linearization> linearization_;
};

struct SampledFisherOptions {
  int64_t draws = 1;  // targets of each example, M
  uint64_t seed = 0;
  void check() const;
};

struct QuadraticForm {
  double value = 0;
  double standard_error = 0;  // NaN where it is not known
};

// The mean over M drawn targets of s s' in place of the expectation: an estimate of F without bias, one fixed
// matrix for a seed, whatever the batch size. A product costs one with Gauss-Newton, for any M.
class SampledFisher : public LinearOperator {
 public:
  SampledFisher(const Objective& objective, const SampledFisherOptions& options = {});
  ~SampledFisher() override;
  bool symmetric() const override { return true; }
  bool positive_semidefinite() const override { return true; }

  // v'F v as this matrix estimates it, for a v chosen without looking at it, [n]. Standard error over the
  // targets drawn, from the variance over draws within each example; not known for one draw. One product.
  QuadraticForm quadratic_form(const Tensor& v) const;

 protected:
  Tensor apply_block(const Tensor& X) const override;

 private:
  struct Scores;  // of the batch seen last
  const std::vector<Tensor>& scores(const OutputsOfBatch& at) const;

  std::shared_ptr<Linearization> linearization_;
  SampledFisherOptions options_;
  mutable std::unique_ptr<Scores> last_;
};

}  // namespace osculant
