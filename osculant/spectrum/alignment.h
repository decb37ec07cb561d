#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "osculant/spectrum/eigenpairs.h"
#include "osculant/spectrum/functions.h"

namespace osculant {

// How a vector g lies to the eigenvectors at one end of a spectrum, from the outermost inwards. Intervals
// hold for the eigenvectors themselves, not for the vectors found; low and high are NaN where nothing can be
// said.
struct EndAlignment {
  std::vector<Measured> cosines;  // of eigenvector i: abs(g'u_i) / norm(g), its sign being anybody's choice
  std::vector<Measured> shares;   // of norm(g)^2 in the span of the first i + 1 eigenvectors
};

struct Alignment {
  EndAlignment largest, smallest;  // empty where the pairs have no such end
  double vector_norm = 0;          // norm(g)
  double miss_probability = 0;     // bound, that an interval is wrong since an eigenvalue was missed
};

// From the residuals R of the pairs found: the span V of some of them is no further than an angle of
// asin(norm(R) / gap) from that of the eigenvectors, gap the distance of their values from all other
// eigenvalues (the sin theta theorem of Davis & Kahan 1970). Where the others lie the pairing bound says of
// those found, and the search for missed ones of the rest; hence nothing is known of the innermost pair's
// span. An angle a between g and V is then one between a - theta and a + theta.
Alignment align(const EigenResult& pairs, const Tensor& g);
// Of pairs whose rows are dealt out, and the same rows of g.
Alignment align(const EigenResult& pairs, const Tensor& g, const VectorSpace& space);

// d'A d / d'd, exact but for the rounding of the product.
struct DirectionalCurvature {
  double value = 0;
  double rounding = 0;  // NaN: not known
};
// `noise`: rounding of a product with a unit vector, as EigenResult has it; NaN where nobody measured it.
DirectionalCurvature curvature_along(const LinearOperator& A, const Tensor& d, double noise);

}  // namespace osculant
