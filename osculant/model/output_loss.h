#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "osculant/model/likelihood.h"
#include "osculant/tensor/batch.h"

namespace osculant {

// How outputs are divided: `mean` as torch's reduction='mean' does (by N, N K or the sum of class weights),
// `sum` over an example's outputs and mean over examples (curvature, damping and lambda scale with it).
enum class OutputReduction { mean, sum };

// A loss as a function of a batch's outputs and targets: l(z, y), summed over the batch, and what the sum is
// to be divided by. A data set's value is total sum / total denominator, so ragged batches and class weights
// are exact. Example weights of the batch multiply each example's loss and count in the denominator.
//
// A handle: copies share the loss, which has no state.
class OutputLoss {
 public:
  using Outputs = std::vector<Tensor>;

  class Implementation {
   public:
    virtual ~Implementation() = default;
    virtual std::string name() const = 0;
    // Throws Error(data) when outputs and targets do not fit; called once for each batch of a linearization.
    virtual void check(const Outputs& outputs, const Batch& batch) const {}
    virtual Tensor sum(const Outputs& outputs, const Batch& batch) const = 0;  // scalar, differentiable twice
    // A function of the batch and of the outputs' shapes alone. Scalar, float64 on the outputs' device, so
    // that totals over many batches stay exact; no transfer to the host.
    virtual Tensor denominator(const Outputs& outputs, const Batch& batch) const = 0;
    // (d2 sum / dz2) V, shaped like outputs. The default differentiates `sum` twice.
    virtual Outputs hessian_product(const Outputs& outputs, const Batch& batch, const Outputs& V) const;
    // S [N, D, C] with S S' = d2 sum / dz2 of each example, D entries of its output, and r [N, C], the least
    // with S r = w, for w = d sum / dz [N, D], but for what underflows. None where no form of them is known
    // that is cheaper than eigenvectors.
    struct Root {
      Tensor S, r;
    };
    virtual std::optional<Root> hessian_root(const Tensor& z, const Batch& batch, const Tensor& w) const {
      return std::nullopt;
    }
    virtual bool convex() const {
      return false;
    }  // in the outputs: then Gauss-Newton is positive semidefinite
    // The distribution whose negative log likelihood the summed loss of an example is; null where there is
    // none, as for Huber's loss, class weights or label smoothing.
    virtual std::shared_ptr<const Likelihood> likelihood() const { return nullptr; }
  };

  explicit OutputLoss(std::shared_ptr<const Implementation> implementation)
      : implementation_(std::move(implementation)) {}

  std::string name() const { return implementation_->name(); }
  bool convex() const { return implementation_->convex(); }
  const Implementation& operator*() const { return *implementation_; }
  const Implementation* operator->() const { return implementation_.get(); }

 private:
  std::shared_ptr<const Implementation> implementation_;
};

// The known losses take one output and one target of the output's shape; integer targets are converted.
// Shapes that torch would broadcast silently are refused, and so are entries outside a loss's domain, with
// position and value: a label out of range, a probability outside [0, 1], a count below 0.
//
// With `sum` a known loss is its `mean` times the outputs of an example (times the positions for cross
// entropy); class weights divide as they do in torch.

struct MeanSquaredErrorOptions {
  OutputReduction outputs = OutputReduction::mean;
};
OutputLoss MeanSquaredError(const MeanSquaredErrorOptions& options = {});  // (z - y)^2

struct CrossEntropyOptions {
  double label_smoothing = 0;                       // in [0, 1]
  Tensor class_weights;                             // [K], finite, >= 0, or undefined
  OutputReduction outputs = OutputReduction::mean;  // of sequence positions: z [N, K, d...], y [N, d...]
  void check() const;
};
// Targets: class indices (integers) or probabilities (floating, shaped like the outputs), as in torch.
OutputLoss CrossEntropy(const CrossEntropyOptions& options = {});

struct BinaryCrossEntropyOptions {
  OutputReduction outputs = OutputReduction::mean;
};
OutputLoss BinaryCrossEntropy(const BinaryCrossEntropyOptions& options = {});  // on logits; targets in [0, 1]

struct HuberOptions {
  double delta = 1;  // > 0
  OutputReduction outputs = OutputReduction::mean;
  void check() const;
};
OutputLoss Huber(const HuberOptions& options = {});

struct PoissonOptions {
  OutputReduction outputs = OutputReduction::mean;
};
OutputLoss Poisson(const PoissonOptions& options = {});  // exp(z) - y z, the outputs being log rates

// A function of (outputs, targets) that returns each example's loss, [N], averaged over examples. Its
// derivatives come from autograd. `convex` is a promise that it is convex in the outputs.
using LossFunction = std::function<Tensor(const OutputLoss::Outputs& outputs, const Batch& batch)>;
OutputLoss FunctionLoss(LossFunction per_example, bool convex = false, std::string name = "function");

}  // namespace osculant
