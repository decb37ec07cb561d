#pragma once

#include <cstdint>
#include <memory>

#include "osculant/optim/direction.h"
#include "osculant/optim/options.h"

namespace osculant {

// What becomes of an eigenvalue l of the Hessian in its inverse; delta is the damping.
enum class NewtonInverse {
  absolute,     // 1/(abs(l) + delta): saddle-free (Dauphin et al. 2014)
  damped,       // 1/(l + delta + max(0, -l_min))
  regularised,  // the same of H + delta R, R a positive diagonal: 1/l of the pencil (H, R)
  corrected,    // 1/abs(l) + epsilon for abs(l) > tau, epsilon otherwise; no damping
  pseudo,       // 1/l for abs(l) > tau, 0 otherwise; no damping
};

enum class NewtonRegularizer {
  identity,
  gauss_newton,      // diag(G)
  empirical_fisher,  // mean of the squares of per-example gradients
};

enum class NewtonDamping {
  plain,          // delta = lambda
  gradient_norm,  // delta = lambda sqrt(norm(g)) (Mishchenko 2023; Doikov & Nesterov 2023)
};

struct NewtonOptions {
  NewtonInverse inverse = NewtonInverse::absolute;
  DampingOptions damping = {.initial = 1e-2, .increase = 4, .decrease = 4};  // lambda
  NewtonDamping scale = NewtonDamping::plain;
  NewtonRegularizer regularizer = NewtonRegularizer::gauss_newton;  // R of `regularised`
  double epsilon = 1e-3;                                            // of `corrected`
  double cutoff = 0;  // tau / max abs(l); 0: n u, the rounding of the products
  void check() const;
  bool damps() const { return inverse != NewtonInverse::corrected && inverse != NewtonInverse::pseudo; }
};
void visit(OptionVisitor& visitor, NewtonOptions& options);

// Newton's method for small n: the Hessian whole, from n products, its eigenvectors V in float64, and
// p = -V f(l) V'g with f as NewtonInverse says. Another damping costs no second factorisation. With R the
// eigenproblem is that of R^(-1/2) H R^(-1/2); entries of R below 1e-3 of the largest are raised to that.
// `pseudo` is Newton's step to the letter, and climbs along negative l; where it would not descend, the
// absolute values are taken and the note says so. Refuses n > 5,000 with Error(memory).
std::unique_ptr<Direction> newton_direction(const NewtonOptions& options, int64_t n);

// Mean of the squared gradients of single examples, [n], at the objective's theta, of its data term alone;
// b/N ge, an example at a time. Throws Error(usage) where examples have no gradient of their own: several
// terms, none, or a model that couples examples.
Tensor empirical_fisher_diagonal(const Objective& objective);

}  // namespace osculant
