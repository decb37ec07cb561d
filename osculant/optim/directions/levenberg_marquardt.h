#pragma once

#include <cstdint>
#include <memory>

#include "osculant/optim/direction.h"
#include "osculant/optim/options.h"

namespace osculant {

enum class LmScaling {
  identity,  // D = I (Levenberg 1944)
  diagonal,  // D = diag(J'J + R), no entry below 1e-6 of the largest (Marquardt 1963)
};

enum class LmForm {
  automatic,  // the smaller system; primal with regularisers
  primal,     // n equations
  dual,       // as many equations as outputs, or fewer: K - 1 for the K of cross entropy
};

struct LevenbergMarquardtOptions {
  DampingOptions damping{.rule = DampingRule::nielsen, .initial = 1e-3};
  double residual_power = 0;  // p: delta = lambda (2 f)^(p/2), for mse lambda norm(r)^p
  LmScaling scaling = LmScaling::identity;
  LmForm form = LmForm::automatic;
  double acceleration = 0.75;  // alpha: q is left out where 2 |q|_D > alpha |p|_D; 0: none
  double momentum = 0;         // mu: what p is drawn towards is mu times the last step
  int64_t attempts = 10;       // dampings tried a step
  void check() const;
};
void visit(OptionVisitor& v, LevenbergMarquardtOptions& o);

// The same step on mini-batches, at a rate and a damping that stay.
struct GaussNewtonOptions {
  double learning_rate = 0.1;
  double damping = 1e-3;  // delta
  double momentum = 0.9;  // mu
  LmScaling scaling = LmScaling::identity;
  LmForm form = LmForm::automatic;
  void check() const;
};
void visit(OptionVisitor& v, GaussNewtonOptions& o);

// The Levenberg-Marquardt step from the dense Jacobian. With S S' the Hessian of an example's loss in its
// outputs z (mse: S = sqrt(2 / (N K)) I), J = S' dz/dtheta [m, n] and r = S^+ dl/dz, J'J is the Gauss-Newton
// matrix, J'r the gradient g, and
//   primal  p = -(J'J + R + delta D)^-1 g, by Cholesky, R the regularisers' Gauss-Newton part
//   dual    p = -D^-1 J' (J D^-1 J' + delta I)^-1 r, the same p, where m < n
// by exact arithmetic; where r cannot say all of g (singular output Hessians) the dual adds the rest by
// Woodbury's formula. J is formed once a step; another delta costs a Cholesky factorisation of J'J + delta D.
// One that fails raises delta tenfold, and the step's note counts it. With D = I the dual form makes J J' by
// layers and never J, where J would take more than 32 MiB or the memory budget and layers tell all parameters
// (gauss_newton_dual.h): a step is then bounded by the m x m matrix.
//
// delta = lambda (2 f)^(p/2): lambda follows the gain ratio by Nielsen's rule, or stays where it is and the
// step is halved until the loss falls (damping_rule = fixed). With p in [1, 2] and lambda fixed convergence
// is quadratic though J'J be singular (Yamashita & Fukushima 2001; Fan & Yuan 2005).
//
// Geodesic acceleration (Transtrum & Sethna 2012, arXiv:1201.5885): along p the outputs move by J p + z''/2,
// z'' their second derivative along p, and the step is p + q, where
//   q = -(J'J + R + delta D)^-1 J_z' S S' z'' / 2,  z'' = 2 / h^2 (z(theta + h p) - z - h J_z p),  h = 0.1,
// J_z = dz/dtheta: a forward pass, a pullback and a solution with the same factor. Large q say that p is too
// long for the model, and are left out. None with damping_rule = fixed, whose steps are shortened along p,
// nor by the dual form where delta is so small that q would be rounding.
//
// With momentum p is the least of the damped model of norm(J p + r)^2 / 2 + delta norm(p - mu s)^2_D / 2, s
// the last step: what a mini-batch says nothing of is kept from those before (SPRING: Goldshlager, Abrahamsen
// & Lin 2024):
//   p = mu s - (J'J + R + delta D)^-1 (g + mu (J'J + R) s)
// Where a step is refused s is given up: more damping leads to mu s, which may itself go uphill.
//
// Throws Error(memory) where both n and m exceed largest_dense_jacobian, or the memory budget is below a
// batch's J, or J J' where that is all that is made.
inline constexpr int64_t largest_dense_jacobian = 10000;
std::unique_ptr<Direction> levenberg_marquardt_direction(const LevenbergMarquardtOptions& options);
std::unique_ptr<Direction> gauss_newton_direction(const GaussNewtonOptions& options);

}  // namespace osculant
