#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "osculant/linop/linear_operator.h"
#include "osculant/objective/objective.h"

namespace osculant {

// The objective along lines and over planes through theta, exact but for rounding, with the quadratic model
// beside it: f + g's + s'A s / 2 at the displacement s. theta is afterwards what it was.

struct SliceOptions {
  int64_t points = 21;  // on a line, both ends and theta among them; odd
  // Of the grid, in units of the direction. 0: where the model differs from f(theta) by abs(f(theta)), see
  // slice_radius.
  double radius = 0;
  std::function<bool()> go_on = {};  // asked before each evaluation; false stops
  void check() const;
};

struct LossLine {
  double slope = 0;      // g'd
  double curvature = 0;  // d'A d
  double radius = 0;
  std::vector<double> steps;   // t, ascending
  std::vector<double> values;  // f(theta + t d); NaN where the evaluation was stopped
  std::vector<double> model;   // f + t g'd + t^2 d'A d / 2

  // The largest t of the grid up to which, on both sides, model and objective differ by at most `share` of
  // what the objective has changed by; 0 where there is none.
  double reach(double share = 0.1) const;
};

struct LossPlane {
  double radius = 0;
  std::vector<double> steps;                // along either axis
  std::vector<std::vector<double>> values;  // [i][j] at theta + steps[i] d1 + steps[j] d2
  std::vector<std::vector<double>> model;
};

// What a random direction's parts are scaled to.
enum class SliceNormalization {
  none,    // the two directions of a plane are orthonormal
  layer,   // each parameter's part has that parameter's norm
  filter,  // each row of a parameter (an output channel, a neuron) has that row's norm (Li et al. 2018)
};
std::string_view to_string(SliceNormalization normalization);

// The least r > 0 with abs(slope) r + abs(curvature) r^2 / 2 = abs(f), at least 1e-3 for an f of 0; where
// neither slope nor curvature are there, 1.
double slice_radius(double f, double slope, double curvature);

// Slices through the present theta; the objective's value and gradient there are computed once, when made.
// A: the matrix of the quadratic model, the objective's Hessian or what stands for it.
class LossSlices {
 public:
  LossSlices(const Objective& objective, const LinearOperator& A);

  // Along d, [n]: a product with A and an evaluation a point.
  LossLine line(const Tensor& d, const SliceOptions& options = {}) const;
  // Over the span of the columns of D, [n, 2]: two products, and an evaluation a point of the grid.
  LossPlane plane(const Tensor& D, const SliceOptions& options = {}) const;

  double value() const { return value_; }
  const Tensor& gradient() const { return gradient_; }

 private:
  Objective objective_;
  const LinearOperator& A_;
  double value_ = 0;
  Tensor gradient_;
};

// Two directions, [n, 2]: normal entries, orthonormalised, or scaled part by part. With `layer` and `filter`
// they keep the scales of the network, in which its symmetries live, and are neither of unit norm nor exactly
// orthogonal; parameters of one dimension (biases, norm layers) are left where they are, as Li et al. do.
Tensor random_plane(const ParameterLayout& layout, SliceNormalization normalization, uint64_t seed);

}  // namespace osculant
