#include "osculant/diagnose/curvature_probe.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "osculant/curvature/curvature.h"
#include "osculant/linop/by_rows.h"
#include "osculant/spectrum/lanczos.h"
#include "osculant/spectrum/ritz.h"
#include "osculant/spectrum/statistics.h"

namespace osculant {
namespace {

constexpr int64_t parts_of_a_check = 8, batches_of_a_check = 4;

// The objective on some of its examples, in one batch.
Objective on_examples(const Objective& objective, const Tensor& indices) {
  auto part = std::make_shared<BatchInMemory>(objective.terms()[0].data.select(indices));
  return objective.on(std::vector<BatchSource>{BatchSource(part, indices.size(0))});
}

Measured interval(const RunningMoments& moments) {
  if (moments.count() == 1) return {moments.mean(), moments.mean(), moments.mean()};
  auto count = static_cast<double>(moments.count());
  double half = student_quantile(0.975, count - 1) * std::sqrt(moments.variance() / count);
  return {moments.mean(), moments.mean() - half, moments.mean() + half};
}

}  // namespace

int64_t ExampleParts::fit_examples() const {
  return fit.empty() ? 0 : fit.front().terms()[0].data.examples();
}

int64_t ExampleParts::check_examples() const {
  int64_t sum = 0;
  for (const auto& check : checks) sum += check.terms()[0].data.examples();
  return sum;
}

ExampleParts example_parts(const Objective& objective, int64_t examples, int64_t batch,
                           RandomStream& random) {
  ExampleParts parts;
  const Term& term = objective.terms()[0];
  int64_t N = objective.examples(), required = term.model.required_batch_size();
  bool fixed = required > 0 || term.model.couples_examples();
  int64_t size = required > 0 ? required : fixed ? std::min(batch, N) : examples / parts_of_a_check;
  int64_t fit = fixed ? size : examples, checks = fixed ? batches_of_a_check : parts_of_a_check;
  if (fit + checks * size > N) {
    if (required > 0 && required != N) return parts;
    fit = N;
    parts.whole = true;
  }
  Tensor order = random.permutation(N);
  parts.fit.push_back(on_examples(objective, order.narrow(0, 0, fit)));
  if (parts.whole) {
    parts.checks = parts.fit;
    return parts;
  }
  for (int64_t c = 0; c < checks; ++c)
    parts.checks.push_back(on_examples(objective, order.narrow(0, fit + c * size, size)));
  return parts;
}

AlongDirection measure_along(const ExampleParts& parts, const Tensor& v) {
  RunningMoments slope, curvature;
  VectorSpace space(v.numel(), v.options());
  for (const auto& part : parts.checks) {
    auto linearization = part.linearize({.gradient = true, .hessian = true});
    slope.add(space.dot(linearization->gradient(), v));
    curvature.add(space.dot(linearization->hessian_product(v), v));
  }
  return {interval(slope), interval(curvature)};
}

ExtremeDirections extreme_directions(const Objective& objective, const Tensor& start, int64_t steps,
                                     RandomStream& random) {
  ExtremeDirections found;
  auto H = by_rows(std::make_shared<Hessian>(objective), objective.communicator());
  const VectorSpace& space = H->domain();
  steps = std::min(steps, objective.parameters());
  Lanczos lanczos(*H, {.capacity = std::max<int64_t>(steps, 2)}, random);
  if (!(start.defined() ? lanczos.start_from(space.rows_of(start)) : lanczos.start())) return found;
  while (lanczos.size() < steps && !lanczos.exhausted())
    if (!lanczos.extend()) break;
  if (lanczos.size() == 0) return found;
  Ritz ritz = ritz_pairs(lanczos);
  found.smallest_value = ritz.value.front();
  found.largest_value = ritz.value.back();
  found.smallest = space.gather(lanczos.combine(ritz.vectors.narrow(1, 0, 1)).flatten());
  found.largest = space.gather(lanczos.combine(ritz.vectors.narrow(1, ritz.size() - 1, 1)).flatten());
  found.smallest = found.smallest / found.smallest.norm();
  found.largest = found.largest / found.largest.norm();
  return found;
}

}  // namespace osculant
