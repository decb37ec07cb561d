#include "osculant/curvature/curvature.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "osculant/base/error.h"
#include "osculant/base/text.h"

namespace osculant {
VectorSpace parameter_space(const Objective& objective) {
  return {objective.parameters(), objective.layout().options()};
}

Hessian::Hessian(const Objective& objective) : Hessian(objective.linearize({.hessian = true})) {}

Hessian::Hessian(std::shared_ptr<Linearization> linearization)
    : LinearOperator(parameter_space(linearization->objective()), parameter_space(linearization->objective()),
                     "hessian"),
      linearization_(std::move(linearization)) {
  if (!linearization_->needs().hessian)
    fail_usage("hessian: its linearization must be made with Needs{.hessian = true}");
}

Tensor Hessian::apply_block(const Tensor& X) const {
  return linearization_->hessian_product(X);
}

GaussNewton::GaussNewton(const Objective& objective)
    : GaussNewton(objective.linearize({.gauss_newton = true})) {}

GaussNewton::GaussNewton(std::shared_ptr<Linearization> linearization)
    : LinearOperator(parameter_space(linearization->objective()), parameter_space(linearization->objective()),
                     "gauss_newton"),
      linearization_(std::move(linearization)) {
  if (!linearization_->needs().gauss_newton)
    fail_usage("gauss_newton: its linearization must be made with Needs{.gauss_newton = true}");
}

bool GaussNewton::positive_semidefinite() const {
  for (const auto& term : linearization_->objective().terms())
    if (!term.loss.convex()) return false;
  return true;
}

Tensor GaussNewton::apply_block(const Tensor& X) const {
  return linearization_->gauss_newton_product(X);
}

FunctionalPart::FunctionalPart(const Objective& objective)
    : LinearOperator(parameter_space(objective), parameter_space(objective), "functional"),
      linearization_(objective.without_regularizers().linearize({.hessian = true, .gauss_newton = true})) {}

Tensor FunctionalPart::apply_block(const Tensor& X) const {
  return linearization_->hessian_product(X) - linearization_->gauss_newton_product(X);
}

DenseMatrix dense(const LinearOperator& A, int64_t limit) {
  int64_t n = A.cols();
  if (n > limit)
    fail(ErrorKind::memory,
         fmt::format(
             "{}: {} x {} as a dense matrix takes {}: n must be <= {}; use eigenpairs, or a restriction to "
             "some parameters",
             A.name(), format_count(n), format_count(n),
             format_bytes(n * n * static_cast<int64_t>(A.range().options().dtype().itemsize())),
             format_count(limit)));
  Tensor matrix = to_dense(A);
  double norm = matrix.norm().item<double>();
  double difference = (matrix - matrix.t()).norm().item<double>();
  return {(matrix + matrix.t()).mul_(0.5), norm > 0 ? difference / norm : 0};
}

}  // namespace osculant
