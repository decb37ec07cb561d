#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace osculant {

using at::Tensor;

// A tridiagonal matrix of Lanczos: diagonal alpha_0 ... alpha_{q-1}; off-diagonal beta_0 ... beta_{q-1}, the
// last of which couples the next vector.
struct Tridiagonal {
  std::vector<double> diagonal, off_diagonal;
};

// The most weight (u'v)^2 that the start v of that run can have had on an eigenvector u whose eigenvalue is
// `point` or beyond, `point` above all Ritz values:
//
//   1 / (p_0(point)^2 + ... + p_q(point)^2),
//   p_0 = 1,  beta_j p_{j+1}(x) = (x - alpha_j) p_j(x) - beta_{j-1} p_{j-1}(x),
//
// the Christoffel function of the orthogonal polynomials of the run, since the sum over all eigenvectors of
// (u'v)^2 p_i(l) p_j(l) is 1 for i = j and 0 otherwise. 1 for a point that is not above all Ritz values.
double largest_weight_beyond(const Tridiagonal& T, double point);

// The probability, over a start v drawn from the sphere in R^n, of a weight no larger than that: an
// eigenvalue at or beyond `point` escaped with at most this probability (van Dorsselaer, Hochstenbach & van
// der Vorst 2000). It holds whatever the spectrum is, and however the number of steps was chosen.
double escape_probability(int64_t n, const Tridiagonal& T, double point);

// The probability over a random start in R^n that q steps of Lanczos on a positive semidefinite matrix leave
// (l_max - its largest Ritz value) / l_max > e: at most 1.648 sqrt(n) exp(-sqrt(e) (2q - 1)) (Kuczynski &
// Wozniakowski 1992). At most 1 is returned.
double lanczos_failure_probability(int64_t n, double relative_error, int64_t steps);

// Steps of Lanczos for that bound to fall to `probability`.
int64_t lanczos_steps_for(int64_t n, double relative_error, double probability);

// The share of the spectrum's width that an eigenvalue at `beyond` stands above the largest Ritz value seen,
// once the matrix is shifted to be positive semidefinite: the e of the bound above. In [0, 1].
double shifted_relative_error(double beyond, double ritz, double lowest);

// A bound on norm_F(E), exceeded with at most the probability p, from the sum of norm(E g)^2 over m
// independent standard normal g: that sum Q has
//
//   E exp(-s Q / norm_F(E)^2) <= (1 + 2 s)^(-m/2),   s > 0,
//
// with equality for rank one, hence P(Q <= t norm_F(E)^2) <= (e t / m)^(m/2) (Markov, s = (m/t - 1) / 2).
double frobenius_bound(double sum_of_squares, int64_t probes, double p);

// norm_2 of a block from its Gram matrix R'R, float64 [k, k].
double block_norm(const Tensor& gram);

}  // namespace osculant
