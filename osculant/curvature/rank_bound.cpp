#include "osculant/curvature/rank_bound.h"

#include <torch/autograd.h>

#include <algorithm>

namespace osculant {
namespace {

int64_t rows_of_an_example(const Objective& objective, size_t t) {
  const Term& term = objective.terms()[t];
  Batch batch = objective.batch(t, 0);
  auto outputs = term.model.forward(batch);
  int64_t entries = 0;
  for (const Tensor& z : outputs) entries += z.numel();
  if (term.loss.name() == "cross_entropy") entries -= entries / outputs.front().size(1);
  return entries / std::max<int64_t>(batch.size(), 1);
}

}  // namespace

int64_t gauss_newton_rank_bound(const Objective& objective) {
  int64_t n = objective.parameters(), rows = 0;
  if (!objective.has_outputs()) return n;
  torch::NoGradGuard no_grad;
  for (size_t t = 0; t < objective.terms().size(); ++t)
    rows += objective.terms()[t].data.examples() * rows_of_an_example(objective, t);
  return std::min(n, rows);
}

}  // namespace osculant
