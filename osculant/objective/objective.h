#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "osculant/base/cost.h"
#include "osculant/comm/communicator.h"
#include "osculant/data/dataset.h"
#include "osculant/model/model.h"
#include "osculant/model/output_loss.h"
#include "osculant/objective/regularizer.h"

namespace osculant {

class Linearization;
struct Needs;

// One weighted data term. Most objectives have one; physics-informed and multi-task ones have several, whose
// models share one layout (Model::with_forward).
struct Term {
  Model model;
  OutputLoss loss;
  BatchSource data;
  double weight = 1;
};

// f(theta) = sum over terms of weight * (total loss / total denominator) + regularisers.
//
// A handle: copies share terms, ledger and memory budget. Everything here works on all the data of a term, by
// batches; for one batch or some, `on` gives the same objective over other data.
class Objective {
 public:
  Objective(Model model, OutputLoss loss, BatchSource data);
  Objective(std::vector<Term> terms, std::vector<std::shared_ptr<const Regularizer>> regularizers = {});

  // A function of the parameters alone: scalar, twice differentiable. It has a Hessian; asked for anything
  // that needs outputs (Gauss-Newton, Fisher) it says so.
  static Objective function(std::vector<NamedTensor> parameters, std::function<Tensor()> value);
  static Objective function(Model parameters, std::function<Tensor()> value);

  ParameterLayout& layout() const;
  const std::shared_ptr<ParameterLayout>& layout_ptr() const;
  int64_t parameters() const { return layout().size(); }  // n
  const std::vector<Term>& terms() const;
  const std::vector<std::shared_ptr<const Regularizer>>& regularizers() const;
  int64_t examples() const;  // of the first term: what 1 ge is counted by
  bool has_outputs() const;  // false for a function of parameters
  int64_t batches() const;   // over all terms

  // The same objective over other data: one source a term (a mini-batch, the test set). Work is priced as a
  // share of this objective's examples and charged to the same ledger.
  Objective on(std::vector<BatchSource> data) const;
  Objective on(const Batch& batch) const;  // a single term, the batch in memory

  // The same objective plus R. Shares terms, ledger and memory budget with this one.
  Objective plus(std::shared_ptr<const Regularizer> regularizer) const;

  // The same objective with other regularisers. Shares terms, ledger and memory budget with this one.
  Objective with_regularizers(std::vector<std::shared_ptr<const Regularizer>> regularizers) const;

  // The same objective with its regularisers as the next step sees them (Regularizer::advanced).
  Objective advanced() const;

  // The data terms alone. Shares ledger and memory budget with this one.
  Objective without_regularizers() const;

  double value() const;                                  // over all data; forward passes only
  std::pair<double, Tensor> value_and_gradient() const;  // gradient [n]; batch by batch, no graph kept

  // Freezes the objective at the present theta. See Linearization.
  std::shared_ptr<Linearization> linearize(const Needs& needs) const;

  CostLedger& ledger() const;

  // Bytes that kept graphs may take; default: half of what is free when first asked.
  int64_t memory_budget() const;
  void set_memory_budget(int64_t bytes) const;

  // Values, gradients and products share the examples of each batch among these processes. Who walks the data
  // by `batch` sees all of it, on every process.
  const Communicator& communicator() const;
  // The same objective, which every process computes whole.
  Objective on_one_process() const;

  // For those that walk the data themselves (Linearization, per-example quantities).
  Batch batch(size_t term, int64_t i) const;  // on the parameters' device, in their dtype
  Tensor function_value() const;              // of a function of the parameters: a scalar with its graph
  Tensor penalty_value() const;  // of the regularisers of parameters alone: the same, or undefined
  void charge(double price, double examples, double count = 1) const;  // against the whole training set

 private:
  struct State;
  explicit Objective(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

}  // namespace osculant
