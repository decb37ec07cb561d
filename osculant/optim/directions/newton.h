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
  regularised,  // the same of H + delta R, R positive definite: 1/l of the pencil (H, R)
  corrected,    // 1/abs(l) + epsilon for abs(l) > tau, epsilon otherwise; no damping
  pseudo,       // 1/l for abs(l) > tau, 0 otherwise; no damping
};

enum class NewtonRegularizer {
  identity,
  gauss_newton,       // diag(G)
  empirical_fisher,   // mean of the squares of per-example gradients
  true_fisher,        // the same in expectation over targets drawn from the network's own distribution
  low_rank_diagonal,  // V diag(l) V' of G's `rank` largest eigenvalues, and the diagonal of what is left of G
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
  int64_t rank = 10;                                                // of `low_rank_diagonal`
  double epsilon = 1e-3;                                            // of `corrected`
  double cutoff = 0;  // tau / max abs(l); 0: n u, the rounding of the products
  void check() const;
  bool damps() const { return inverse != NewtonInverse::corrected && inverse != NewtonInverse::pseudo; }
};
void visit(OptionVisitor& visitor, NewtonOptions& options);

// Newton's method for small n: the Hessian whole, from n products, its eigenvectors V in float64, and
// p = -V f(l) V'g with f as NewtonInverse says. Another damping costs no second factorisation. With R = L L'
// the eigenproblem is that of L^-1 H L^-T; diagonals in R below 1e-3 of R's largest are raised to that.
// `pseudo` is Newton's step to the letter, and climbs along negative l; where it would not descend, the
// absolute values are taken and the note says so. Refuses n > 5,000 with Error(memory).
std::unique_ptr<Direction> newton_direction(const NewtonOptions& options, int64_t n);

// Mean of the squared gradients of single examples, [n], at the objective's theta, of its data term alone;
// by layer (visit_example_gradients), 5/3 ge. Throws Error(usage) where examples have no gradient of their
// own: several terms, none, or a model that couples examples.
Tensor empirical_fisher_diagonal(const Objective& objective);

// The diagonal of the Fisher matrix of the data terms, [n], float64: the mean over examples of the expected
// squared gradient, targets drawn from the distribution that the loss is the negative log likelihood of. The
// expectation is exact, since there the Fisher matrix is G (Heskes 2000; Martens 2020, section 9.2). Needs a
// linearization made with Needs{.jacobian = true}. Throws Error(usage) for losses that are no such likelihood
// (Huber's, a function's).
Tensor true_fisher_diagonal(Linearization& linearization);

}  // namespace osculant
