#include "osculant/solve/arguments.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "osculant/base/error.h"

namespace osculant {

void require_symmetric(const char* solver, const LinearOperator& A) {
  if (!A.symmetric()) fail_usage(fmt::format("{}: {} is not declared symmetric", solver, A.name()));
}

void require_fits(const char* solver, const LinearOperator& A, const Tensor& v, const char* what) {
  if (!v.defined()) fail_usage(fmt::format("{}: {} is undefined", solver, what));
  if (v.dim() != 1 || v.size(0) != A.domain().local_size() || v.scalar_type() != A.domain().dtype())
    fail_usage(fmt::format("{}: {} is {} {}: must be {} [{}]", solver, what, c10::toString(v.scalar_type()),
                           c10::str(v.sizes()), c10::toString(A.domain().dtype()), A.domain().local_size()));
}

}  // namespace osculant
