#include "osculant/linop/linear_operator.h"

#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include "osculant/base/error.h"
#include "osculant/base/stopwatch.h"

namespace osculant {

LinearOperator::LinearOperator(VectorSpace range, VectorSpace domain, std::string name)
    : range_(range), domain_(domain), name_(std::move(name)) {}

template <class Function>
Tensor LinearOperator::checked(const Tensor& x, const VectorSpace& from, const VectorSpace& to,
                               const char* what, Function f) const {
  if (x.dim() < 1 || x.dim() > 2 || x.size(0) != from.local_size())
    fail_usage(fmt::format("{}.{}: x has shape {}: must be [{}] or [{}, k]", name_, what, c10::str(x.sizes()),
                           from.local_size(), from.local_size()));
  if (x.scalar_type() != from.dtype() || x.device() != from.device())
    fail_usage(fmt::format("{}.{}: x is {} on {}: must be {} on {}", name_, what,
                           c10::toString(x.scalar_type()), x.device().str(), c10::toString(from.dtype()),
                           from.device().str()));
  torch::NoGradGuard no_grad;
  Stopwatch watch;
  bool vector = x.dim() == 1;
  Tensor X = vector ? x.unsqueeze(1) : x;
  Tensor Y = f(X);
  TORCH_CHECK(Y.dim() == 2 && Y.size(0) == to.local_size() && Y.size(1) == X.size(1), name_, ".", what,
              ": returned ", Y.sizes());
  products_ += X.size(1);
  seconds_ += watch.seconds();
  return vector ? Y.squeeze(1) : Y;
}

Tensor LinearOperator::apply(const Tensor& x) const {
  return checked(x, domain_, range_, "apply", [&](const Tensor& X) { return apply_block(X); });
}

Tensor LinearOperator::apply_adjoint(const Tensor& y) const {
  return checked(y, range_, domain_, "apply_adjoint",
                 [&](const Tensor& Y) { return symmetric() ? apply_block(Y) : apply_adjoint_block(Y); });
}

Tensor LinearOperator::apply_adjoint_block(const Tensor&) const {
  fail_usage(fmt::format("{}: has no adjoint product", name_));
}

Tensor to_dense(const LinearOperator& A, int64_t block) {
  require_at_least("block", static_cast<double>(block), 1);
  Tensor columns = at::zeros({A.cols(), A.rows()}, A.range().options()).t();
  for (int64_t begin = 0; begin < A.cols(); begin += block) {
    int64_t k = std::min(block, A.cols() - begin);
    columns.narrow(1, begin, k).copy_(A.range().gather(A.apply(A.domain().unit_vectors(begin, k))));
  }
  return columns;
}

}  // namespace osculant
