#pragma once

#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "osculant/objective/batch_graph.h"
#include "osculant/objective/linearization.h"
#include "osculant/objective/penalties.h"

// What the sources of Linearization share.
namespace osculant {

// This process's share of a batch of a term and, while the budget lasts, its graphs. A function of the
// parameters is a slot too, with no term, and so are the regularisers of parameters alone.
struct Linearization::State {
  struct Slot {
    std::optional<size_t> term = std::nullopt;
    int64_t batch = 0;
    int64_t examples = 0;  // of the whole batch: what work is priced by
    Share share = {0, 0};  // of these, the process's own
    bool regularizers = false;
    std::unique_ptr<BatchGraph> graph = nullptr;
    Penalties::Features features = {};
    int64_t bytes = 0;  // of both
  };

  explicit State(const Objective& objective) : penalties(objective) {}

  int64_t epoch = 0;
  bool swept = false;
  std::vector<Slot> slots;
  std::vector<double> scale;  // of a term: weight / total denominator
  double value = 0;
  Tensor gradient;
  bool data_finite = true;   // the data terms' value, and where R depends on the data their gradient
  int64_t outputs_size = 0;  // of all processes
  std::vector<int64_t> outputs_begin;  // of a slot's share among them
  GraphReport report;
  Penalties penalties;

  // Calls visit(graph, slot, rebuilt) for every slot that `needs` concerns, building graphs that were not
  // kept just for the call.
  template <class Visit>
  void visit_graphs(const Objective& objective, const Needs& needs, Visit visit) const;

  // Calls visit(features, slot, rebuilt) for every slot of data, the same way.
  template <class Visit>
  void visit_features(const Objective& objective, Visit visit);

  void place_outputs(const Communicator& communicator, const std::vector<int64_t>& own);
  double scale_of(const Slot& slot) const { return slot.term ? scale[*slot.term] : 1.0; }
  void drop(Slot& slot);
};

// A process with no example of a batch takes the first with weight 0.
template <class Slot>
Batch shared_batch(const Objective& objective, const Slot& slot) {
  Batch batch = objective.batch(*slot.term, slot.batch);
  if (slot.share.size() == slot.examples) return batch;
  if (slot.share.size() > 0) return batch.slice(slot.share.begin, slot.share.end);
  batch = batch.slice(0, 1);
  batch.weights = at::zeros({1}, objective.layout().options());
  return batch;
}

template <class Slot>
std::unique_ptr<BatchGraph> make_graph(const Objective& objective, const Slot& slot, const Needs& needs) {
  if (slot.term) {
    const Term& of = objective.terms()[*slot.term];
    return std::make_unique<BatchGraph>(of, shared_batch(objective, slot), needs);
  }
  at::AutoGradMode mode(needs.gradient || needs.hessian);
  Tensor value = slot.regularizers ? objective.penalty_value() : objective.function_value();
  return std::make_unique<BatchGraph>(objective.layout(), value, needs);
}

// Outputs and J'u of a batch whose graphs were not kept.
constexpr double kRebuiltOutputs = Price::forward + Price::output_graph;

inline double sweep_price(const Needs& needs) {
  double price = needs.hessian ? Price::gradient_graph : needs.gradient ? Price::gradient : Price::forward;
  return needs.gauss_newton ? price + Price::output_graph : price;
}

// Of a function of the parameters the whole is the one example; its regularisers cost nothing beside it.
template <class Slot>
void charge(const Objective& objective, const Slot& slot, double price, double count = 1) {
  if (!slot.regularizers) objective.charge(price, static_cast<double>(slot.examples), count);
}

template <class Visit>
void Linearization::State::visit_graphs(const Objective& objective, const Needs& needs, Visit visit) const {
  for (const auto& slot : slots) {
    if (!slot.term && !needs.hessian) continue;  // a part without outputs has a Hessian alone
    std::unique_ptr<BatchGraph> rebuilt;
    if (!slot.graph) rebuilt = make_graph(objective, slot, needs);
    visit(slot.graph ? *slot.graph : *rebuilt, slot, rebuilt != nullptr);
  }
}

template <class Visit>
void Linearization::State::visit_features(const Objective& objective, Visit visit) {
  for (auto& slot : slots) {
    if (slot.regularizers) continue;
    if (!slot.features.empty()) {
      visit(slot.features, slot, false);
      continue;
    }
    Needs needs = penalties.needs(true);
    auto rebuilt = penalties.features(*make_graph(objective, slot, needs), true);
    charge(objective, slot, sweep_price(needs) + penalties.features_price());
    visit(rebuilt, slot, true);
  }
}

}  // namespace osculant
