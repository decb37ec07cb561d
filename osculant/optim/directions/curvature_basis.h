#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>

#include "osculant/optim/direction.h"
#include "osculant/spectrum/low_rank.h"

namespace osculant {

// Which matrix a method takes its eigenpairs of.
enum class CurvatureMatrix {
  automatic,  // as the method says
  hessian,
  gauss_newton,
};

struct CurvatureBasisOptions {
  CurvatureMatrix matrix = CurvatureMatrix::hessian;
  int64_t rank = 20;  // k; n and above: the dense matrix, exactly
  LowRankMethod method =
      LowRankMethod::lanczos;  // of the first factorisation, and of every one when not warm
  bool positive = false;       // Lanczos looks for the largest instead of the dominant
  bool warm = true;  // the later ones are one step of subspace iteration from the last basis, k products
};

// The eigenpairs that a method with a low-rank inverse keeps from step to step: V [n, k] and l [k].
class CurvatureBasis {
 public:
  CurvatureBasis(const CurvatureBasisOptions& options, int64_t n);

  bool exact() const { return exact_; }  // all n eigenpairs, from the dense matrix
  bool empty() const { return !vectors_.defined(); }
  const Tensor& vectors() const { return vectors_; }      // [n, k]
  const Tensor& values() const { return values_; }        // [k], float64, CPU
  const Tensor& residuals() const { return residuals_; }  // [k], float64, CPU: of each pair

  // Finds the eigenpairs at the context's point, whose linearization was made with the needs of the matrix. A
  // factorisation that fails leaves the last basis, and says why.
  struct Update {
    int64_t products = 0;
    std::string note;          // what went wrong, "" if nothing did
    bool interrupted = false;  // by a signal: nothing changed
  };
  Update update(const StepContext& context);

  Needs needs() const;  // of the linearization that update is given
  Tensor product(Linearization& linearization, const Tensor& X) const;  // the matrix times X

  void save(Archive& archive) const;
  void load(const Archive& archive, const ParameterLayout& layout);

 private:
  void factorise(const LinearOperator& A, Update& update);
  void factorise_lanczos(const LinearOperator& A, const Communicator& processes, RandomStream& random,
                         Update& update);
  void factorise_low_rank(const LinearOperator& A, const Communicator& processes, RandomStream& random,
                          Update& update);
  void iterate_subspace(const LinearOperator& A, Update& update);
  void keep(const Tensor& vectors, const Tensor& values, const Tensor& residuals);

  CurvatureBasisOptions options_;
  bool exact_;
  Tensor vectors_, values_, residuals_;
  Tensor next_;  // where the next step of subspace iteration starts, [n, k]
};

}  // namespace osculant
