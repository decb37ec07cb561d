#include "osculant/optim/directions/hessian_diagonal.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <memory>

#include "osculant/base/error.h"
#include "osculant/optim/forward_state.h"

namespace osculant {

Tensor hutchinson_diagonal(const StepContext& context, int64_t probes) {
  int64_t n = context.gradient.numel();
  Tensor V = context.random.rademacher({n, probes}, context.gradient.options());
  Tensor HV = context.linearization.hessian_product(probes == 1 ? V.squeeze(1) : V);
  return (V * HV.view({n, probes})).mean(1);
}

namespace {

// The batch with targets drawn at theta, and the roots of its weights: s = sqrt(w_i) dl_i has E[s s'] = w_i
// E[dl_i dl_i'].
Batch drawn(const Term& term, const OutputLoss::Outputs& outputs, Batch batch, RandomStream& random) {
  Tensor& y = batch.targets.at(0).tensor;
  Tensor u = random.uniform(y.sizes(), at::kDouble).to(y.device());
  y = term.loss->likelihood()->draw(outputs.at(0), u);
  if (batch.weights.defined()) batch.weights = batch.weights.sqrt();
  return batch;
}

}  // namespace

// With D the denominator of the loss and s the sum of the drawn gradients: G = E[s s'] / D.
Tensor gauss_newton_bartlett_diagonal(const StepContext& context) {
  Objective objective = context.linearization.objective().without_regularizers();
  const Term& term = objective.terms().front();
  ForwardState state(objective);
  auto before = state.snapshot();
  Tensor sum = at::zeros_like(context.gradient);
  double denominator = 0;
  for (int64_t b = 0; b < term.data.batches(); ++b) {
    Batch batch = objective.batch(0, b);
    OutputLoss::Outputs outputs;
    {
      at::AutoGradMode no_grad(false);
      outputs = term.model.forward(batch);
    }
    objective.charge(Price::forward, static_cast<double>(batch.size()));
    denominator += term.loss->denominator(outputs, batch).item<double>();
    state.restore(before);
    batch = drawn(term, outputs, batch, context.random);
    sum.add_(objective.on(batch).value_and_gradient().second,
             term.loss->denominator(outputs, batch).item<double>() / term.weight);
    state.restore(before);
  }
  return sum.square_().mul_(term.weight / denominator);
}

void require_gauss_newton_bartlett(const Objective& objective, const std::string& what) {
  if (!objective.has_outputs() || objective.terms().size() != 1)
    fail_usage(what + ": needs a single data term");
  const Term& term = objective.terms().front();
  auto likelihood = term.loss->likelihood();
  std::string refusal = "the loss " + term.loss.name() +
                        " is the negative log likelihood of no distribution that targets could be drawn from";
  if (likelihood) refusal = likelihood->refusal(term.data.batch(0).targets.at(0).tensor);
  if (!refusal.empty()) fail_usage(what + ": " + refusal);
}

}  // namespace osculant
