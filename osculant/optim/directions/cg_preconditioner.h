#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>

#include "osculant/linop/kronecker.h"
#include "osculant/linop/linear_operator.h"
#include "osculant/objective/linearization.h"
#include "osculant/optim/options.h"

namespace osculant {

class Archive;

enum class Preconditioner {
  none,
  diagonal,  // (d + lambda)^0.75, d the mean of the squared gradients of examples (Martens 2010,
             // section 4.7), exact where layers tell them (squared_gradients.h), estimated by random signs
             // for the rest (Linearization::mean_squared_gradients)
  low_rank,  // a Nystrom approximation V diag(l) V' of the matrix, its complement scaled as l_k + lambda
             // (Frangella, Tropp & Udell 2023, eq. 5.1)
  kfac,      // F + lambda I, F the Kronecker products of kfac.h, one product for each layer
  ekfac,     // the same with corrected eigenvalues
};

struct CgPreconditionerOptions {
  Preconditioner kind = Preconditioner::none;
  int64_t rank =
      20;  // low_rank: eigenpairs kept; rank + 10 products (half as many more if G may be indefinite)
  int64_t probes = 10;   // diagonal, for what no layer tells: sign vectors, 0.6 of a gradient each
  int64_t draws = 1;     // kfac, ekfac: targets drawn for each example; 2/3 of a gradient, then 1/3 each
  int64_t refresh = 20;  // steps after which it is made anew at the latest
  double growth = 1.5;   // and as soon as a solve takes this many times the iterations of the first with it
  void check() const;
};
void visit(OptionVisitor& visitor, CgPreconditionerOptions& options);

// A preconditioner for conjugate gradients on B + lambda I that is kept from step to step, while B and lambda
// move.
class CgPreconditioner {
 public:
  explicit CgPreconditioner(const CgPreconditionerOptions& options) : options_(options) {}

  // Whether it wants Needs::jacobian of the examples it is made from.
  bool needs_gradients() const { return options_.kind == Preconditioner::diagonal; }
  // Whether it is made from examples, and not from products.
  bool needs_examples() const {
    return options_.kind != Preconditioner::none && options_.kind != Preconditioner::low_rank;
  }
  bool due() const;
  // Anew: from B's products, or from the layers of `here`'s examples. What it cost or why it failed, in
  // words; after a failure there is none until the next.
  std::string update(const LinearOperator& B, Linearization& here, RandomStream& random);
  OperatorPtr inverse(double lambda) const;  // applies M^-1; null where there is none
  void solved(int64_t iterations);           // once a step

  void save(Archive& archive) const;
  void load(const Archive& archive, const ParameterLayout& layout);

 private:
  std::string make_diagonal(Linearization& here, RandomStream& random);
  std::string make_low_rank(const LinearOperator& B, RandomStream& random);
  std::string make_layers(const Objective& objective, RandomStream& random);

  CgPreconditionerOptions options_;
  Tensor diagonal_;                               // d, [n]
  Tensor vectors_, values_;                       // V [n, k] and l [k], float64, CPU
  std::shared_ptr<const KroneckerEigen> layers_;  // F
  int64_t age_ = -1;                              // steps since it was made; -1: never
  int64_t first_ = 0;                             // iterations of the first solve with it
  bool slow_ = false;
};

}  // namespace osculant
