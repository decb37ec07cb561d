#include "osculant/curvature/empirical_fisher.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "osculant/base/error.h"
#include "osculant/curvature/curvature.h"
#include "osculant/curvature/example_gradients.h"
#include "osculant/curvature/outer_product.h"
#include "osculant/objective/output_derivatives.h"

namespace osculant {
namespace {

std::shared_ptr<Linearization> linearize(const Objective& objective, const char* name, const Needs& needs) {
  require_single_gradients(objective, name);
  return objective.without_regularizers().linearize(needs);
}

// The objective is s * sum of w_i l_i, s its scale, so that p_i g_i = s w_i dl_i and, W being the sum of the
// weights, p_i g_i g_i' = (s W) * s w_i dl_i dl_i'.
double factor_of(Linearization& linearization) {
  return linearization.scale(0) * total_weight(linearization.objective());
}

// s * sum of w_i dl_i dl_i' X
Tensor outer_products(Linearization& linearization, const Tensor& X) {
  int64_t last = -1;
  std::vector<Tensor> w;  // of the batch seen last
  return linearization.output_product(X, [&](const OutputsOfBatch& at, const std::vector<Tensor>& V) {
    if (last != at.first) w = output_gradients(at.loss, at.outputs, unweighted(at.batch));
    last = at.first;
    Tensor dots = example_dots(w, V);
    if (at.batch.weights.defined()) dots = dots * at.batch.weights.to(dots.options());
    return scaled_by_example(w, dots);
  });
}

}  // namespace

void require_single_gradients(const Objective& objective, const std::string& what) {
  if (objective.terms().size() != 1 || objective.terms()[0].model.couples_examples())
    fail_usage(fmt::format("{}: needs one data term whose examples have gradients of their own", what));
}

EmpiricalFisher::EmpiricalFisher(const Objective& objective)
    : LinearOperator(parameter_space(objective), parameter_space(objective), "empirical_fisher"),
      linearization_(linearize(objective, "empirical_fisher", {.gauss_newton = true})),
      factor_(factor_of(*linearization_)) {}

Tensor EmpiricalFisher::apply_block(const Tensor& X) const {
  return outer_products(*linearization_, X) * factor_;
}

GradientCovariance::GradientCovariance(const Objective& objective)
    : LinearOperator(parameter_space(objective), parameter_space(objective), "gradient_covariance"),
      linearization_(linearize(objective, "gradient_covariance", {.gradient = true, .gauss_newton = true})),
      factor_(factor_of(*linearization_)) {}

Tensor GradientCovariance::apply_block(const Tensor& X) const {
  const Tensor& g = gradient();
  Tensor along = domain().gram(g.unsqueeze(1), X).to(g.options());
  return outer_products(*linearization_, X).mul_(factor_).sub_(g.unsqueeze(1) * along);
}

}  // namespace osculant
