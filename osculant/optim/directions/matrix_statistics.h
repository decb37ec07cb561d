// What SOAP and Shampoo have in common: means of G G' and G'G, their eigenvectors, and what is made of them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "osculant/linop/symmetric.h"
#include "osculant/optim/directions/layer_matrices.h"

namespace osculant {

class Archive;

// One side of a group's matrices, [count, d, d] each; undefined where that side keeps the identity.
struct MatrixSide {
  Tensor factor;     // mean of G G', or of G'G, from 0; its lower triangle
  Tensor transform;  // made of it, a basis or an inverse root; the identity at first
};

struct TwoSidedGroup {
  MatrixGroup group;
  MatrixSide left, right;

  // factor <- beta factor + alpha G G', and likewise with G'G, for the group's matrices G of a flat gradient;
  // the products in `dtype`.
  void update_factors(const Tensor& gradient, double beta, double alpha, at::ScalarType dtype);
};

// `has_side(d)`: whether a side of d rows has a factor.
std::vector<TwoSidedGroup> two_sided(const std::vector<MatrixGroup>& groups, const at::TensorOptions& options,
                                     const std::function<bool(int64_t)>& has_side);

// Factors and transforms of every side there is, as "left.0.factor" and "left.0." + transform.
void save_sides(Archive& archive, const std::vector<TwoSidedGroup>& groups, const char* transform);
void load_sides(const Archive& archive, std::vector<TwoSidedGroup>& groups, const char* transform);

}  // namespace osculant
