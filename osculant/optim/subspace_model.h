#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "osculant/linop/vector_space.h"

namespace osculant {

// A direction that a step may be made of.
struct SubspaceColumn {
  Tensor direction;           // p_i, [n]
  bool non_negative = false;  // its coefficient must not be negative
};

// The best step in a small subspace.
struct SubspaceStep {
  std::vector<double> coefficients;  // y_i, 0 for a column that was dropped
  Tensor displacement;               // P y, [n]
  double slope = 0;                  // g'P y
  double predicted_change = 0;       // g'P y + y'P'B P y / 2: the undamped model
};

// The quadratic model m(y) = g'P y + y'(P'B P + delta I) y / 2 on the span of a few columns P = [p_1 ...
// p_c], each taken at unit norm, so that delta means the same for all. This is how step lengths are had in
// closed form: for P = [p_1] the exact minimiser along a line, with the last step among the columns the
// momentum too (Martens & Grosse 2015, section 7). A column that the ones before it span, by a pivoted
// Cholesky factorisation of P'P, is dropped.
class SubspaceModel {
 public:
  // `products`: B P, [n, c].
  SubspaceModel(std::vector<SubspaceColumn> columns, const Tensor& gradient, const Tensor& products);
  // `gram`: P'B P, [c, c].
  static SubspaceModel of_gram(std::vector<SubspaceColumn> columns, const Tensor& gradient,
                               const Tensor& gram);

  // Columns together, [n, c]: what to multiply by B.
  static Tensor stack(const std::vector<SubspaceColumn>& columns);

  // argmin m over the coefficients allowed. Where P'B P is not positive definite delta is raised above minus
  // its smallest eigenvalue. Without a column left the displacement is undefined.
  SubspaceStep minimize(double delta) const;

 private:
  using Matrix = std::vector<std::vector<double>>;
  SubspaceModel() = default;
  void describe(const Tensor& gradient, const Tensor& P, const Tensor& curvature);
  void keep_independent(const Matrix& gram);

  std::vector<SubspaceColumn> columns_;
  std::vector<size_t> kept_;   // columns that are independent
  std::vector<double> scale_;  // 1 / norm(p_i)
  std::vector<double> slope_;  // g'p_i scale_i
  Matrix curvature_;           // p_i'B p_j scale_i scale_j
};

}  // namespace osculant
