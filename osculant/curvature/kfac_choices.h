#pragma once

namespace osculant {

// Whose outer products curvature is made of.
enum class ScoreGradients {
  automatic,  // sampled; exact where the loss is no likelihood
  sampled,    // gradients at targets drawn from the network's own likelihood: the Fisher matrix, by chance
  exact,      // columns of the root of the output Hessian: Gauss-Newton, one pass a column
  empirical   // gradients at the data's targets
};

// How a layer's weight that is used at T positions of an example gets one Kronecker product (Eschenhagen,
// Immer, Turner, Schneider & Hennig 2023).
enum class WeightSharing {
  expand,  // positions as examples:  A = mean over i, t of a_it a_it',  G = sum over i, t, c of d_itc d_itc'
  reduce  // sums over positions:    A = mean over i of (mean of a_it)(...)',  G = sum of (sum of d_itc)(...)'
};

}  // namespace osculant
