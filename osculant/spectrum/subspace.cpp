#include "osculant/spectrum/subspace.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <limits>

#include "osculant/base/error.h"
#include "osculant/linop/orthonormalize.h"
#include "osculant/spectrum/ritz.h"

namespace osculant {

RitzSubspace refresh_subspace(const LinearOperator& A, const Tensor& start) {
  if (!A.symmetric()) fail_usage(fmt::format("refresh_subspace: {} is not declared symmetric", A.name()));
  if (start.dim() != 2 || start.size(0) != A.domain().local_size())
    fail_usage(fmt::format("refresh_subspace: start has shape {}: must be [{}, k]", c10::str(start.sizes()),
                           A.domain().local_size()));
  at::NoGradGuard no_grad;
  const VectorSpace& space = A.domain();
  Tensor Z = orthonormalize(space, start).Q, AZ = apply_by_blocks(A, Z);
  int64_t k = Z.size(1);
  if (!space.all_finite(AZ)) {
    Tensor unknown = at::full({k}, std::numeric_limits<double>::quiet_NaN(), at::kDouble);
    return {Z, unknown, unknown, Z, k, false};
  }
  PairBlock pairs = rayleigh_ritz(space, Z, AZ, EigenTarget::dominant, k);
  Tensor next = orthonormalize(space, pairs.AQ).Q;
  // Where A is singular on the span, its range has lost dimensions: the directions that went to zero stay.
  if (next.size(1) < k) next = orthonormalize(space, at::cat({next.t(), pairs.Q.t()}).t()).Q.narrow(1, 0, k);
  return {pairs.Q, pairs.values, pairs.residual_gram.diagonal().clamp_min(0).sqrt(), next, k, true};
}

}  // namespace osculant
