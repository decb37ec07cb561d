#pragma once

#include <functional>
#include <vector>

#include "osculant/spectrum/certificate.h"

namespace osculant {

// Two numbers that enclose a third.
struct Enclosure {
  double low = 0, high = 0;
};

// Nodes in ascending order, weights that sum to 1.
struct QuadratureRule {
  std::vector<double> nodes, weights;
};

// The eigenvalues of a symmetric tridiagonal matrix and the squares of its eigenvectors' first components, by
// implicit QL at O(m^2) (Golub & Welsch 1969). off_diagonal may be longer than m - 1; the rest is not read.
QuadratureRule gauss_rule(const std::vector<double>& diagonal, const std::vector<double>& off_diagonal);

// What m steps of Lanczos from a unit vector v say about its spectral measure,
//
//   F(t) = sum over eigenvalues l <= t of (u_l'v)^2,
//
// whose first 2m moments they know. Bounds hold for every measure with those moments, without a probability;
// they are for the operator as its products are rounded.
class ProbeMeasure {
 public:
  // `exact`: v lies in an invariant subspace of dimension m, and the rule is the measure.
  ProbeMeasure(Tridiagonal T, bool exact);

  const Tridiagonal& recurrence() const { return T_; }
  const QuadratureRule& gauss() const { return gauss_; }  // exact for polynomials of degree 2m - 1
  bool exact() const { return exact_; }

  // F(t) as the Gauss rule has it, and bounds of it by the Chebyshev-Markov-Stieltjes inequalities (Golub &
  // Meurant 2010, ch. 6): of a rule of m + 1 nodes with one at t, as exact as the Gauss rule (Golub 1973),
  // the nodes below t weigh no more than F(t-) and those up to t no less than F(t).
  double below(double t) const;
  Enclosure bounds_below(double t) const;

  // Integral of f by the Gauss rule, and bounds of it for an f that is monotone between neighbouring
  // `points` (ascending, the first and last of them the ends of the spectrum): with F between the bounds L
  // and U that its Gauss nodes give,
  //
  //   int f dF = f(b) - int F df,  F in [L, U] where f rises, and the other way round where it falls.
  double integral(const std::function<double(double)>& f) const;
  Enclosure bounds_of_integral(const std::function<double(double)>& f,
                               const std::vector<double>& points) const;

 private:
  Tridiagonal T_;
  QuadratureRule gauss_;
  std::vector<double> sums_;  // of weights: sums_[k] = w_0 + ... + w_{k-1}
  bool exact_;
};

// A bound of the error of a Gauss rule with m nodes for f(x) = exp(-(x - t)^2 / (2 width^2)) and a measure of
// weight 1 on an interval, t in it or not. A rule exact to degree 2m - 1 errs by no more than twice the
// distance of f to polynomials of that degree, and Chebyshev's series tells how near these come to a function
// that is bounded by M on an ellipse of the sum of half axes e^s (Trefethen 2013, theorem 8.2):
//
//   4 M e^(-(2m - 1) s) / (e^s - 1),  M = exp(sinh(s)^2 / (2 w^2)),  w = width / half the interval.
double gaussian_quadrature_error(int64_t nodes, double width, double interval);

// The same for any f on [low, high]: twice the largest distance, on a fine grid, of f from its Chebyshev
// interpolant of degree 2m - 1.
double quadrature_error(int64_t nodes, const std::function<double(double)>& f, double low, double high);

}  // namespace osculant
