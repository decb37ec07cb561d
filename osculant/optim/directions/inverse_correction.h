#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "osculant/optim/directions/curvature_basis.h"
#include "osculant/optim/options.h"

namespace osculant {

// What becomes of an eigenvalue l of the curvature matrix in its corrected inverse.
enum class CurvatureMode {
  signed_values,  // 1/l, the article to the letter: climbs along a negative l when epsilon < 1/abs(l)
  absolute,       // 1/abs(l)
  positive,       // 1/l for l > tau; the others count as the complement
};

// What is done where the inverse has nothing to say: on the complement of the eigenvectors kept, Q = I - V
// V'.
enum class Complement {
  none,     // eps g everywhere, on V too: (H^-1 + eps I) g to the letter
  sgd,      // eps Q g
  adam,     // eps Q D^-1 Q m, m and D Adam's moments, which take the gradient's place on V too
  rmsprop,  // eps Q D^-1 Q g, D RMSprop's root mean square
};

// For InverseCorrectionOptions::rank.
inline constexpr int64_t automatic_rank = 0;  // full for n <= 500, else 20
inline constexpr int64_t full_rank = -1;

struct InverseCorrectionOptions {
  std::optional<double> learning_rate = {};  // eta; absent: in closed form, each step
  std::optional<double> epsilon = {};  // eps; absent: 0.01 beside a given eta, else in closed form, each step
  CurvatureMode curvature = CurvatureMode::absolute;
  Complement complement = Complement::none;
  CurvatureMatrix matrix = CurvatureMatrix::automatic;  // the Hessian beside a given eta and for functions
                                                        // without outputs, else Gauss-Newton
  int64_t rank = automatic_rank;                        // eigenpairs kept
  LowRankMethod method = LowRankMethod::lanczos;        // how they are found below full rank
  bool warm_start = true;                               // later by one step of subspace iteration each
  int64_t refresh = 0;  // steps between factorisations; 0: 1 at full rank, below it as many as keep its
                        // products at curvature_share of the rest of the step's work
  double curvature_share = 0.5;
  double cutoff = 0;         // tau / max abs(l); 0: the rounding of the products
  bool line_search = false;  // with a given eta: shorten it until Armijo's condition holds
  bool momentum = true;      // with eta in closed form: the last step is a third direction of the model
  bool fresh_batch = false;  // the model's products on examples of their own
  DampingOptions damping = {.initial = 1e-2};              // of the model; follows the gain ratio
  double beta1 = 0.9, beta2 = 0.999, adam_epsilon = 1e-8;  // of the complement's moments
  void check() const;
};
void visit(OptionVisitor& visitor, InverseCorrectionOptions& options);

// theta <- theta - eta (H^-1 + eps I) g for a singular Hessian, in five steps: the gradient; the matrix; its
// inverse on the eigenvectors with abs(l) > tau; the correction eps I; the step. With the eigenpairs (l_i,
// v_i)
//   p1 = -sum over abs(l_i) > tau of v_i (v_i'g) / l_i,  p2 = -g, or what the complement makes of it,
//   theta <- theta + eta (p1 + eps p2),
// exactly (dense, float64) at full rank and from the k dominant eigenpairs below it. tau = c u max abs(l): u
// the unit roundoff of theta's dtype, c = n for the dense matrix and 10 below full rank, where a value must
// exceed tau by its residual.
//
// Without a given eta the step is theta + y1 p1 + y2 p2 + y3 (last step), where y minimises the quadratic
// model with the Gauss-Newton matrix (or the Hessian) of the step's batch on these directions, y1, y2 >= 0:
// eta = y1, eps = y2 / y1. Three products a step. 1/l is then 1/(abs(l) + delta), delta the model's damping.
std::unique_ptr<Direction> inverse_correction_direction(const InverseCorrectionOptions& options,
                                                        const Objective& objective);

// Eigenpairs the options mean for n parameters: n or less.
int64_t resolved_rank(const InverseCorrectionOptions& options, int64_t n);

}  // namespace osculant
