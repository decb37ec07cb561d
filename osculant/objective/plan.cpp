#include "osculant/objective/plan.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "osculant/base/error.h"
#include "osculant/base/memory.h"
#include "osculant/base/stopwatch.h"
#include "osculant/base/text.h"
#include "osculant/objective/penalties.h"

namespace osculant {
namespace {

// One batch of each term as an objective of its own, measured by doing everything once; the mean over terms.
struct Measured {
  double sweep_seconds = 0;
  double hessian_seconds = 0;
  double gauss_newton_seconds = 0;
  double value_seconds = 0;
  int64_t graph_bytes = 0;
  int64_t working_bytes = 0;
};

Objective first_batches(const Objective& objective) {
  std::vector<BatchSource> first;
  for (const auto& term : objective.terms()) {
    auto source = std::make_shared<Dataset>(term.data.batch(0));
    first.push_back(source->full());
  }
  return objective.on(std::move(first));
}

template <class Function>
double seconds_of(Function f) {
  Stopwatch watch;
  f();
  return world_communicator().of_first(watch.seconds());
}

Measured measure(const Objective& objective, const PlannedWork& work) {
  const Needs& needs = work.needs;
  Objective batch = objective.has_outputs() ? first_batches(objective) : objective;
  Measured m;
  MemoryMeter meter;
  Linearization linearization(batch, needs);
  m.sweep_seconds = seconds_of([&] { linearization.value(); });
  m.graph_bytes = linearization.graphs().bytes;
  Tensor v = at::ones({objective.parameters()}, objective.layout().options());
  if (needs.hessian) m.hessian_seconds = seconds_of([&] { linearization.hessian_product(v); });
  if (needs.gauss_newton) m.gauss_newton_seconds = seconds_of([&] { linearization.gauss_newton_product(v); });
  if (work.evaluations > 0) m.value_seconds = seconds_of([&] { batch.value(); });
  m.working_bytes = meter.peak() - m.graph_bytes;
  auto terms = static_cast<int64_t>(std::max<size_t>(objective.terms().size(), 1));
  return {m.sweep_seconds / terms, m.hessian_seconds / terms, m.gauss_newton_seconds / terms,
          m.value_seconds / terms, m.graph_bytes / terms,     m.working_bytes};
}

struct PenaltyWork {
  double sweep = 0, product = 0, rebuilt_product = 0;
};

// What regularisers of the data add. A product's second sweep is counted also where phi is linear.
PenaltyWork penalty_work(const Objective& objective, const Needs& needs) {
  Penalties penalties(objective);
  if (penalties.empty()) return {};
  Needs own = penalties.needs(true);
  double graph = (own.hessian ? Price::gradient_graph : 0) + (own.gauss_newton ? Price::output_graph : 0);
  double shared = (own.hessian && needs.hessian ? Price::gradient_graph : 0) +
                  (own.gauss_newton && needs.gauss_newton ? Price::output_graph : 0);
  double features = penalties.features_price(), gradient = penalties.gradient_price();
  return {graph - shared + features + gradient, penalties.products_price() + penalties.rest_price(),
          2 * (graph + features) + gradient};
}

}  // namespace

Plan plan(const Objective& objective, const PlannedWork& work) {
  int64_t saved_budget = objective.memory_budget();
  double charged = objective.ledger().gradient_equivalents();
  Measured m = measure(objective, work);

  Plan plan;
  plan.budget = saved_budget;
  plan.batches = std::max<int64_t>(objective.has_outputs() ? objective.batches() : 1, 1);
  plan.batch_size = objective.has_outputs() ? objective.terms().front().data.batch_size() : 1;
  plan.vector_bytes = work.vectors * objective.parameters() *
                      static_cast<int64_t>(objective.layout().options().dtype().itemsize());
  plan.working_bytes = m.working_bytes;
  plan.kept = plan.batches;
  if (m.graph_bytes * plan.batches > plan.graph_budget()) {
    plan.working_bytes += m.graph_bytes;  // the graph being rebuilt
    plan.kept = std::min(plan.graph_budget() / m.graph_bytes, plan.batches - 1);
  }
  plan.graph_bytes = plan.kept * m.graph_bytes;

  auto kept = static_cast<double>(plan.kept), batches = static_cast<double>(plan.batches);
  double share = kept / batches, rebuilt = batches - kept;
  auto values = static_cast<double>(work.evaluations);
  auto H = static_cast<double>(work.hessian_products), G = static_cast<double>(work.gauss_newton_products);
  PenaltyWork penalty = penalty_work(objective, work.needs);
  plan.gradient_equivalents =
      penalty.sweep + H * (penalty.product + (1 - share) * penalty.rebuilt_product) +
      objective.ledger().gradient_equivalents() - charged + (work.needs.hessian ? Price::gradient_graph : 0) +
      (work.needs.gauss_newton ? Price::output_graph : 0) +
      H * (share * Price::hessian_product + (1 - share) * Price::hessian_product_recomputed) +
      G * (share * Price::gauss_newton_product + (1 - share) * Price::gauss_newton_product_recomputed) +
      values * Price::forward;
  plan.seconds = m.sweep_seconds * (batches + rebuilt * (H + G)) + batches * H * m.hessian_seconds +
                 batches * (G * m.gauss_newton_seconds + values * m.value_seconds);
  return plan;
}

int64_t Plan::graph_budget() const {
  return std::max<int64_t>(budget - minimum_bytes(), 0);
}

std::string Plan::str() const {
  return fmt::format("{:.1f} ge, about {}, peak {} of a budget of {} (graphs of {} of {} batches kept)",
                     gradient_equivalents, format_seconds(seconds), format_bytes(peak_bytes()),
                     format_bytes(budget), kept, batches);
}

void Plan::require_fit() const {
  if (fits()) return;
  std::string remedy = vector_bytes > budget / 2
                           ? "fewer vectors (eigenvalues, basis size)"
                           : fmt::format("a batch size below {}", format_count(batch_size));
  fail(ErrorKind::memory,
       fmt::format("memory_budget = {}: the work needs at least {} ({} for vectors, {} to work on "
                   "one batch of {} examples); what would fit: that budget, or {}",
                   format_bytes(budget), format_bytes(minimum_bytes()), format_bytes(vector_bytes),
                   format_bytes(working_bytes), format_count(batch_size), remedy));
}

}  // namespace osculant
