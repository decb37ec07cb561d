#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "osculant/linop/linear_operator.h"
#include "osculant/solve/arguments.h"

namespace osculant {

enum class CubicStop {
  gradient,     // norm of the model's gradient at p <= relative_tolerance * min(1, norm(p)) * norm(g)
  exhausted,    // the Krylov space is invariant: p minimises the model over all that g can show
  iterations,   // max_iterations made
  interrupted,  // the progress callback said so
  non_finite,   // a product was not finite; p is from the space before it
};
std::string_view to_string(CubicStop stop);

struct CubicOptions {
  double sigma = 1;                 // > 0
  int64_t max_iterations = 100;     // products, and vectors kept
  double relative_tolerance = 0.1;  // of the model's gradient
  SolveCallback progress = {};
  void check() const;
};

struct CubicResult {
  Tensor p;                     // [n]
  double model_change = 0;      // g'p + p'Hp/2 + sigma norm(p)^3 / 3 <= 0
  double quadratic_change = 0;  // g'p + p'Hp/2
  double multiplier = 0;        // lambda = sigma norm(p)
  double norm = 0;              // norm(p)
  double gradient_norm = 0;     // of the model at p
  double lowest_ritz = 0;       // an upper bound on H's smallest eigenvalue
  int64_t iterations = 0;       // products with H
  CubicStop stop = CubicStop::iterations;
  std::string message;  // the stop in words, with the numbers that were compared
};

// A minimiser of m(p) = g'p + p'Hp/2 + sigma norm(p)^3 / 3 over the Krylov space of H from g, H symmetric,
// for adaptive cubic regularisation (Cartis, Gould & Toint 2011): a Lanczos basis, kept whole and orthogonal,
// and in it
//
//   (T + lambda I) u = -norm(g) e_1,   lambda = sigma norm(u),   T + lambda I positive semidefinite
//
// solved in float64 from T's eigenvalues. Over the Krylov space p is the global minimiser. An eigenvector to
// which g is orthogonal (the hard case) is not in that space, however negative its curvature: where g is
// small, ask minimum_eigenvalue_oracle.
CubicResult cubic_subproblem(const LinearOperator& H, const Tensor& g, const CubicOptions& options = {});

// The same for one sigma after another: the basis is kept, and only extended. H must outlive it.
class CubicSubproblem {
 public:
  CubicSubproblem(const LinearOperator& H, const Tensor& g, const CubicOptions& options);
  CubicResult solve(double sigma);  // options.sigma is not read; `iterations` counts this call's products

 private:
  void stop(CubicStop reason, std::string message);
  void look();
  bool extend();
  void minimise();

  const LinearOperator& H_;
  const VectorSpace& space_;
  CubicOptions options_;
  int64_t capacity_;
  double norm_g_;
  Tensor basis_;                      // [capacity + 1, n], a vector a row
  std::vector<double> alpha_, beta_;  // T
  double scale_ = 0;
  Tensor u_;  // the minimiser in the basis, float64
  double sigma_ = 1;
  CubicResult result_;
  bool stopped_ = false;
};

// The same for a diagonal matrix, in coordinates: the vector u that minimises c'u + u'diag(d)u/2 +
// sigma norm(u)^3 / 3 globally, the hard case included; d ascending. All float64 [m] on the CPU.
Tensor minimise_cubic(const Tensor& d, const Tensor& c, double sigma);

}  // namespace osculant
