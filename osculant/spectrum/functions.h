#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "osculant/spectrum/spectral_sample.h"

namespace osculant {

// A number and an interval that holds it.
struct Measured {
  double value = 0, low = 0, high = 0;
  bool exact() const { return low == high; }
};

// f and where it turns: monotone between neighbouring `turns`, ascending.
struct SpectralFunction {
  std::function<double(double)> f;
  std::vector<double> turns = {};
};

// What a sample says of tr f(A) = sum of f(l) over all n eigenvalues.
struct FunctionSample {
  std::vector<double> values;  // one estimate from each probe, the known pairs included; one alone: no probes
  double below = 0, above = 0;  // the mean of exact integrals lies so far below and above the mean of these
  // f at the nodes of all probes' Gauss rules, and what each weighs in a sum over the eigenvalues that are
  // not deflated: of the i-th of q probes norm(P z_i)^2 / q times the rule's weight.
  std::vector<double> at_nodes, node_weights;
  double mean() const;
};

// Of each probe the Gauss rule's integral. Its error is enclosed by the smaller of bounds_of_integral and
// quadrature_error (quadrature.h); shifts of eigenvalues by D in all move the sum by no more than n times the
// largest change of f over D / n, for a modulus of continuity that is concave.
FunctionSample sample_function(const SpectralSample& sample, const SpectralFunction& function);

// g of one or more such traces, at their means: an interval of its linearisation over probes, around the
// range of g over what the quadrature leaves open. All from one sample. Unknown (NaN, -inf, inf) where it is
// not usable().
//
// The linearisation is a sum of h(l) over eigenvalues, seen as sum h(l) x with x chi-square, of q degrees of
// freedom, over q. A t interval fails where few eigenvalues make it up. So the sum is split at the mean of h
// into a positive and a negative part, and each is S = k s, k values of one size s = sum h^2 / sum h, for
// which S q / s is chi-square with k q degrees of freedom, exact for h of one size and the same mean and
// variance otherwise; k has an interval as a count has one (counts.h), and the two are joined as intervals of
// a difference are (Zou & Donner 2008, equation 2).
Measured function_of_traces(const std::vector<FunctionSample>& traces,
                            const std::function<double(const std::vector<double>&)>& g,
                            double confidence = 0.95);

// tr f(A), and log det(A + shift I), which is unknown where A + shift I may be singular or indefinite.
Measured trace_of_function(const SpectralSample& sample, const SpectralFunction& function,
                           double confidence = 0.95);
Measured log_determinant(const SpectralSample& sample, double shift, double confidence = 0.95);

// f(A) v for a symmetric A by Lanczos from v: norm(v) V f(T) e_1, V an orthonormal basis of span {v, A v,
// ...}.
struct FunctionProduct {
  Tensor value;  // [n]
  double error =
      0;  // norm of the difference from half as many steps: an estimate; 0 on an invariant subspace
  int64_t steps = 0;
  bool finite = true;  // false: a product was not, and value is what the steps before it give
};
FunctionProduct apply_function(const LinearOperator& A, const std::function<double(double)>& f,
                               const Tensor& v, int64_t steps = 60);

}  // namespace osculant
