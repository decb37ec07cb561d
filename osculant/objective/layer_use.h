#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "osculant/model/layer_taps.h"

namespace osculant {

// One use of a layer's weight and bias in the forward pass of a batch, as a matrix M that example i meets at
// its positions t = 1 .. T (places of a sequence, pixels):
//
//   out_it = M a_it,  so that  dl_i/dM = sum over t of d_it a_it',  d_it = dl_i / d out_it
//
// (Goodfellow 2015; Grosse & Martens 2016 for convolutions), in theta wherever the use's parts lie. By kind:
//   linear         M = [W b] [out, in + 1], a the inputs and a 1; without bias no 1
//   convolution    the same in each group, W [out, in of the group * kernel], a the unfolded patches
//   embedding      M = W' [out, vocabulary], a_it a unit vector, given as its index
//   normalization  M diagonal: out_it = w * a_it + b entry by entry, a the normalised inputs
//   bias           M = b [out, 1], a = 1
struct LayerUse {
  LayerTap tap;           // of parts that the taps do not tell it has none: see LayerFactors::untapped
  int64_t groups = 1;     // of a convolution
  int64_t inputs = 0;     // columns of M in a group, without that of the bias; vocabulary of an embedding
  int64_t outputs = 0;    // rows of M, over all groups
  int64_t examples = 0;   // N
  int64_t positions = 0;  // T
  int64_t stride = 1;  // of the output's positions in a row, number p belongs to example (p / stride) mod N
  int64_t uses = 1;    // of the weight in the forward pass: more than one where it is shared or tied

  bool has_bias() const { return tap.bias.has_value(); }
};

// A use from its tap, the first of its possible strides taken; nothing where the shapes have no form as
// above.
std::optional<LayerUse> layer_use(const LayerTap& tap, int64_t examples);

// Multiplications and additions of a forward pass, for an example.
double flops_of(const LayerUse& use);

// The use of the bias that a tap has joined to its weight: the same positions and derivatives.
LayerTap bias_alone(LayerTap tap);

// Strides that the examples of a batch may have in the tap's output, the likeliest first.
std::vector<int64_t> possible_strides(const LayerTap& tap, int64_t examples);

// a [N, T, groups * (inputs + 1)], each group's entries together and its 1 last; without bias, or with
// `ones` false, [N, T, groups * inputs]. Indices [N, T] for an embedding, [N, T, outputs] without ones for a
// normalisation, [N, T, 1] ones for a bias.
Tensor inputs_of(const LayerUse& use, bool ones = true);

// d [columns, N, T, outputs] from derivatives by the tap's output, [columns, ...its shape].
Tensor derivatives_of(const LayerUse& use, const Tensor& by_output);

// M's place in theta-shaped rows `flat` [..., n]: [..., groups, outputs / groups, inputs + 1], with the bias
// as last column where there is one; [..., 1, outputs, 1 or 2] for a normalisation, a column for each
// parameter; [..., 1, outputs, vocabulary] for an embedding; [..., 1, outputs, 1] for a bias.
Tensor matrix_of(const LayerUse& use, const Tensor& flat);
// flat += scale * M at its place.
void add_matrix(const LayerUse& use, const Tensor& M, Tensor& flat, double scale = 1);

}  // namespace osculant
