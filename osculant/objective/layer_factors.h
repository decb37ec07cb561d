#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "osculant/base/random.h"
#include "osculant/objective/layer_use.h"
#include "osculant/objective/objective.h"

namespace osculant {

struct LayerFactorsOptions {
  // Whether to find out which example each position of a layer belongs to, by two backward passes, and to
  // refuse layers whose examples mix. Without it the first dimension that fits is taken for the example; two
  // batches of one shape need it once.
  bool verify = true;
  // Without it, where given: the uses' strides as another batch of the same data was found to have them.
  std::vector<int64_t> strides = {};
  // The batch is this share of one of `of` examples, which work is charged and targets are drawn for; 0: it
  // is a whole one.
  Share share = {0, 0};
  int64_t of = 0;
};

// The forward pass of a batch of a term, layer by layer: the inputs a of every use of a weight, and the
// derivatives d of anything by its outputs. Curvature that is made of these needs no pass of autograd for
// single examples (Goodfellow 2015), and none by the parameters.
//
// Everything is of single examples' own losses l_i, where the objective is scale * sum over i of w_i l_i,
// scale = weight of the term / total denominator (Linearization::scale) and w_i the batch's example weights:
// neither is in a, d or the cotangents. Gauss-Newton is scale * sum over i of w_i J_i' S_i S_i' J_i.
class LayerFactors {
 public:
  // A family of columns: for each output of the model [columns, ...its shape]. Column c of d is, by example
  // i and position t, the derivative of <cotangent_ci, z_i> by out_it.
  using Cotangents = std::vector<Tensor>;

  // Runs the forward pass. Throws Error(usage) for a model that couples its examples.
  LayerFactors(const Objective& objective, size_t term, const Batch& batch,
               const LayerFactorsOptions& options = {});
  // Of a forward pass that has been made: its outputs with their graph, and what was tapped.
  LayerFactors(const Objective& objective, size_t term, const Batch& batch, std::vector<Tensor> outputs,
               const LayerTaps& taps, const LayerFactorsOptions& options = {});

  const Objective& objective() const { return objective_; }
  int64_t examples() const { return batch_.size(); }  // N
  // Of the batch that this is a process's share of.
  int64_t examples_of_batch() const { return of_ > 0 ? of_ : examples(); }
  const std::vector<LayerUse>& uses() const { return uses_; }
  // Parameters that `uses` do not tell, or not all of: theirs is autograd's work. No use has a part in them.
  const std::vector<UntappedParameter>& untapped() const { return untapped_; }
  const std::vector<Tensor>& outputs() const { return outputs_; }  // z, with their graph

  Cotangents loss_gradient() const;  // one column: dl_i/dz_i
  // Columns of S_i, S_i S_i' the Hessian of l_i in z_i, of models with one output: at most as many as it has
  // entries.
  Cotangents hessian_root() const;
  // dl_i/dz_i at targets drawn from the network's own likelihood, `draws` columns: the mean of d d' over them
  // is without bias for S S'. Throws Error(usage) for losses without a likelihood.
  Cotangents sampled_gradients(int64_t draws, RandomStream& random) const;

  // d of each use, [columns, N, T, outputs]: a backward pass a column, by the layers' outputs alone.
  std::vector<Tensor> derivatives(const Cotangents& cotangents) const;

 private:
  void describe(const LayerTaps& taps, const LayerFactorsOptions& options = {});
  void settle();
  void verify();
  bool told(const ParameterPart& part) const;
  void leave(const ParameterPart& part, const std::string& reason);
  std::vector<Tensor> backward(const std::vector<Tensor>& cotangent) const;  // by the taps' outputs

  Objective objective_;
  const Term* term_;
  Batch batch_;  // unweighted
  Share share_;
  int64_t of_;
  std::vector<Tensor> outputs_;
  std::vector<LayerUse> uses_;
  std::vector<UntappedParameter> untapped_;
};

}  // namespace osculant
