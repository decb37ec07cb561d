#pragma once

#include <cstdint>
#include <memory>

#include "osculant/optim/direction.h"
#include "osculant/optim/options.h"

namespace osculant {

// What becomes of an eigenvalue l of the Hessian in its corrected inverse.
enum class CurvatureMode {
  signed_values,  // 1/l, the article to the letter: climbs along a negative l when epsilon < 1/abs(l)
  absolute,       // 1/abs(l)
  positive,       // 1/l for l > tau; the others count as the complement
};

// For InverseCorrectionOptions::rank.
inline constexpr int64_t automatic_rank = 0;  // full for n <= 500, else 20
inline constexpr int64_t full_rank = -1;

struct InverseCorrectionOptions {
  double learning_rate = 0.01;  // eta
  double epsilon = 0.01;        // eps: what every direction gets on top, and all that the flat ones get
  CurvatureMode curvature = CurvatureMode::absolute;
  int64_t rank = automatic_rank;  // eigenpairs kept
  int64_t refresh = 0;            // steps between factorisations; 0: 1 at full rank, 10 below it
  double cutoff = 0;              // tau / max abs(l); 0: the rounding of the products
  bool line_search = false;       // shorten eta until Armijo's condition holds, reject if it never does
  void check() const;
};
void visit(OptionVisitor& visitor, InverseCorrectionOptions& options);

// theta <- theta - eta (H^-1 + eps I) g for a singular Hessian, in five steps: the gradient; the Hessian; its
// inverse on the eigenvectors with abs(l) > tau; the correction eps I; the step. With the eigenpairs (l_i,
// v_i)
//   p = -(sum over abs(l_i) > tau of v_i (v_i'g) / l_i + eps g),
// exactly (dense, float64) at full rank and from the k dominant eigenpairs by Lanczos below it.
// tau = c u max abs(l): u the unit roundoff of theta's dtype, c = n for the dense matrix and 10 for Lanczos,
// where a value must exceed tau by its residual.
std::unique_ptr<Direction> inverse_correction_direction(const InverseCorrectionOptions& options, int64_t n);

// Eigenpairs the options mean for n parameters: n or less.
int64_t resolved_rank(const InverseCorrectionOptions& options, int64_t n);

}  // namespace osculant
