#include "osculant/solve/preconditioners.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "osculant/base/error.h"
#include "osculant/linop/operators.h"

namespace osculant {

OperatorPtr diagonal_power_preconditioner(const Tensor& d, double lambda, double alpha) {
  require_between("alpha", alpha, 0, 1);
  Tensor shifted = d + lambda;
  if (d.dim() != 1 || !shifted.gt(0).all().item<bool>())
    fail_usage(fmt::format("diagonal_power_preconditioner: d {} + lambda = {}: must be [n], all > 0",
                           c10::str(d.sizes()), lambda));
  return diagonal_operator(shifted.pow(-alpha));
}

OperatorPtr nystrom_preconditioner(const Tensor& V, const Tensor& values, double mu) {
  require_positive("mu", mu);
  if (V.dim() != 2 || values.dim() != 1 || V.size(1) != values.size(0))
    fail_usage(fmt::format("nystrom_preconditioner: V {} and values {}: must be [n, k] and [k]",
                           c10::str(V.sizes()), c10::str(values.sizes())));
  if (!values.ge(0).all().item<bool>())
    fail_usage("nystrom_preconditioner: a value is negative: all must be >= 0");
  VectorSpace space(V.size(0), V.options());
  if (values.numel() == 0) return identity_operator(space);
  Tensor l = values.to(at::kDouble) + mu;
  return sum(identity_operator(space), low_rank_operator(V, l.min() / l - 1));
}

}  // namespace osculant
