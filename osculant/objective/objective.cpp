#include "osculant/objective/objective.h"

#include <fmt/format.h>
#include <torch/types.h>

#include "osculant/base/error.h"
#include "osculant/objective/linearization.h"

namespace osculant {

struct Objective::State {
  std::vector<Term> terms;
  std::vector<std::shared_ptr<const Regularizer>> regularizers;
  std::function<Tensor()> function;  // of the parameters alone
  std::shared_ptr<ParameterLayout> layout;

  // What `on` shares with the objective it came from.
  struct Shared {
    CostLedger ledger;
    double examples = 1;         // of the whole training set, over all terms: what 1 ge is
    int64_t memory_budget = -1;  // -1: not asked for yet
  };
  std::shared_ptr<Shared> shared = std::make_shared<Shared>();
  const Communicator* communicator = &world_communicator();
};

namespace {

double count_examples(const std::vector<Term>& terms) {
  double sum = 0;
  for (const auto& term : terms) sum += static_cast<double>(term.data.examples());
  return sum;
}

}  // namespace

Objective::Objective(Model model, OutputLoss loss, BatchSource data)
    : Objective(std::vector<Term>{{std::move(model), std::move(loss), std::move(data)}}) {}

Objective::Objective(std::vector<Term> terms, std::vector<std::shared_ptr<const Regularizer>> regularizers)
    : state_(std::make_shared<State>()) {
  if (terms.empty()) fail_usage("objective: has no terms; expected at least one");
  for (const auto& term : terms) {
    if (term.model.layout_ptr() != terms.front().model.layout_ptr())
      fail_usage("objective: the models of all terms must share their parameters (Model::with_forward)");
    require_non_negative("term.weight", term.weight);
  }
  state_->layout = terms.front().model.layout_ptr();
  state_->shared->examples = count_examples(terms);
  state_->terms = std::move(terms);
  state_->regularizers = std::move(regularizers);
}

Objective Objective::function(std::vector<NamedTensor> parameters, std::function<Tensor()> value) {
  auto none = [](const Model::Inputs&) -> Model::Outputs { return {}; };
  return function(Model(std::move(parameters), none), std::move(value));
}

Objective Objective::function(Model parameters, std::function<Tensor()> value) {
  auto state = std::make_shared<State>();
  state->layout = parameters.layout_ptr();
  state->function = std::move(value);
  return Objective(std::move(state));
}

ParameterLayout& Objective::layout() const {
  return *state_->layout;
}
const std::shared_ptr<ParameterLayout>& Objective::layout_ptr() const {
  return state_->layout;
}
const std::vector<Term>& Objective::terms() const {
  return state_->terms;
}
const std::vector<std::shared_ptr<const Regularizer>>& Objective::regularizers() const {
  return state_->regularizers;
}
bool Objective::has_outputs() const {
  return !state_->terms.empty();
}
CostLedger& Objective::ledger() const {
  return state_->shared->ledger;
}
const Communicator& Objective::communicator() const {
  return *state_->communicator;
}

int64_t Objective::examples() const {
  return has_outputs() ? state_->terms.front().data.examples() : 1;
}

int64_t Objective::batches() const {
  int64_t sum = 0;
  for (const auto& term : state_->terms) sum += term.data.batches();
  return sum;
}

int64_t Objective::memory_budget() const {
  if (state_->shared->memory_budget < 0) state_->shared->memory_budget = fair_share_of_memory();
  return state_->shared->memory_budget;
}

void Objective::set_memory_budget(int64_t bytes) const {
  require_non_negative("memory_budget", static_cast<double>(bytes));
  state_->shared->memory_budget = bytes;
}

Objective Objective::on(std::vector<BatchSource> data) const {
  if (data.size() != state_->terms.size())
    fail_usage(fmt::format("objective.on: {} data sources given: must be one a term, {}", data.size(),
                           state_->terms.size()));
  auto state = std::make_shared<State>(*state_);
  for (size_t t = 0; t < data.size(); ++t) state->terms[t].data = std::move(data[t]);
  return Objective(std::move(state));
}

Objective Objective::on(const Batch& batch) const {
  return on({BatchSource(std::make_shared<BatchInMemory>(batch), batch.size())});
}

Objective Objective::plus(std::shared_ptr<const Regularizer> regularizer) const {
  auto state = std::make_shared<State>(*state_);
  state->regularizers.push_back(std::move(regularizer));
  return Objective(std::move(state));
}

Objective Objective::with_regularizers(std::vector<std::shared_ptr<const Regularizer>> regularizers) const {
  auto state = std::make_shared<State>(*state_);
  state->regularizers = std::move(regularizers);
  return Objective(std::move(state));
}

Objective Objective::without_regularizers() const {
  return with_regularizers({});
}

Objective Objective::on_one_process() const {
  auto state = std::make_shared<State>(*state_);
  state->communicator = &serial_communicator();
  return Objective(std::move(state));
}

Objective Objective::advanced() const {
  auto regularizers = state_->regularizers;
  for (auto& regularizer : regularizers)
    if (auto next = regularizer->advanced(*this)) regularizer = next;
  return with_regularizers(std::move(regularizers));
}

Batch Objective::batch(size_t term, int64_t i) const {
  return state_->terms[term].data.batch(i).to(layout().device(), layout().dtype());
}

namespace {

Tensor scalar(Tensor value, const std::string& what) {
  if (value.numel() != 1)
    fail_usage(
        fmt::format("objective: {} returned shape {}: must be a scalar", what, c10::str(value.sizes())));
  return value;
}

}  // namespace

Tensor Objective::function_value() const {
  return scalar(state_->function(), "the function of the parameters");
}

Tensor Objective::penalty_value() const {
  Tensor value;
  for (const auto& regularizer : state_->regularizers) {
    if (regularizer->of_data() != nullptr) continue;
    Tensor penalty = scalar(regularizer->value(layout()), "regulariser " + regularizer->name());
    value = value.defined() ? value + penalty : penalty;
  }
  return value;
}

void Objective::charge(double price, double examples, double count) const {
  ledger().charge(price, has_outputs() ? examples : 1, state_->shared->examples, count);
}

double Objective::value() const {
  return Linearization(*this, {}).value();
}

std::pair<double, Tensor> Objective::value_and_gradient() const {
  Linearization linearization(*this, {.gradient = true});
  Tensor gradient = linearization.gradient();
  return {linearization.value(), gradient};
}

std::shared_ptr<Linearization> Objective::linearize(const Needs& needs) const {
  return std::make_shared<Linearization>(*this, needs);
}

}  // namespace osculant
