#include "osculant/objective/linearization.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "osculant/base/error.h"
#include "osculant/base/memory.h"
#include "osculant/base/text.h"
#include "osculant/comm/flat_reduction.h"
#include "osculant/objective/linearization_state.h"

namespace osculant {

std::string GraphReport::str() const {
  std::string text = fmt::format("graphs of {} of {} batches kept ({} of a budget of {})", kept, batches,
                                 format_bytes(bytes), format_bytes(budget));
  if (kept < batches)
    text += fmt::format("; the others are rebuilt for each product ({} each)", format_bytes(bytes_per_batch));
  return text;
}

Linearization::Linearization(Objective objective, Needs needs)
    : objective_(std::move(objective)), needs_(needs), state_(std::make_unique<State>(objective_)) {
  objective_.layout().check();
  if ((needs_.gauss_newton || needs_.jacobian) && !objective_.has_outputs())
    fail_usage(
        "objective: is a function of the parameters alone; Gauss-Newton, Fisher and Jacobian products need "
        "outputs and a loss (use the Hessian, or give the objective as model, loss and data)");
  // What is one thing for a whole batch, or no sum over examples, every process computes for itself.
  bool whole = std::any_of(objective_.terms().begin(), objective_.terms().end(), [](const Term& term) {
    return term.model.couples_examples() || term.model.required_batch_size() > 0;
  });
  if (whole || needs_.jacobian || !objective_.has_outputs()) objective_ = objective_.on_one_process();
  for (size_t t = 0; t < objective_.terms().size(); ++t) {
    const auto& term = objective_.terms()[t];
    if (term.model.couples_examples() && term.data.batches() > 1 &&
        (needs_.hessian || needs_.gauss_newton || needs_.jacobian || !state_->penalties.empty()))
      fail_usage(
          "model: batch norm in training mode couples the examples of a batch, so products over several "
          "batches "
          "are those of no one objective; call model.train(false), or linearize on a single batch");
    for (int64_t b = 0; b < term.data.batches(); ++b) {
      int64_t rest = term.data.examples() - b * term.data.batch_size();
      int64_t examples = std::min(term.data.batch_size(), rest);
      state_->slots.push_back({.term = t,
                               .batch = b,
                               .examples = examples,
                               .share = share_of(examples, objective_.communicator())});
    }
  }
  if (!objective_.has_outputs()) state_->slots.push_back({});
  const auto& regularizers = objective_.regularizers();
  bool of_parameters =
      std::any_of(regularizers.begin(), regularizers.end(), [](const auto& r) { return !r->of_data(); });
  if (of_parameters && objective_.communicator().is_first()) state_->slots.push_back({.regularizers = true});
  state_->epoch = objective_.layout().epoch();
}

Linearization::~Linearization() = default;

void Linearization::check_epoch() const {
  objective_.layout().check();
  if (objective_.layout().epoch() != state_->epoch)
    fail_usage(
        "linearization: the parameters have moved since it was made; make a new one, or restore the snapshot "
        "it "
        "was made at");
}

void Linearization::State::drop(Slot& slot) {
  if (slot.bytes > 0) --report.kept;
  report.bytes -= std::exchange(slot.bytes, 0);
  slot.graph.reset();
  slot.features.clear();
}

void Linearization::first_pass() {
  auto& s = *state_;
  if (s.swept) return;
  check_epoch();
  auto& report = s.report;
  for (auto& slot : s.slots) s.drop(slot);
  report = {};
  s.penalties.restart();
  s.scale.clear();
  s.value = 0;
  s.outputs_size = 0;
  report.budget = objective_.memory_budget();
  size_t terms = objective_.terms().size();
  auto f64 = at::TensorOptions(at::kDouble).device(objective_.layout().device());
  // One number a term on the device: nothing is brought to the host before the sweep is over.
  // After the terms a function of the parameters has a place, then the regularisers of parameters alone.
  Tensor sums = at::zeros({static_cast<int64_t>(terms) + 2}, f64), denominators = at::zeros_like(sums);
  std::vector<Tensor> gradients(terms + 2);
  std::vector<int64_t> outputs;  // entries of each slot's
  bool graphs = needs_.hessian || needs_.gauss_newton || needs_.jacobian;
  bool derivatives = needs_.gradient || needs_.hessian;
  Needs sweep = needs_;
  sweep.gradient = derivatives;
  Needs plain{.gradient = needs_.gradient};

  for (auto& slot : s.slots) {
    size_t t = slot.regularizers ? terms + 1 : slot.term.value_or(terms);
    auto at = static_cast<int64_t>(t);
    if (needs_.gradient && !gradients[t].defined())
      gradients[t] = at::zeros({objective_.parameters()}, objective_.layout().options());
    bool penalised = !s.penalties.empty() && !slot.regularizers;
    bool keeps = graphs || (penalised && derivatives);
    bool room = keeps && report.bytes + report.bytes_per_batch <= report.budget;
    Needs now = room ? sweep : plain;
    if (penalised) now = now | s.penalties.needs(derivatives);
    MemoryMeter meter;
    slot.graph = make_graph(objective_, slot, now);
    charge(objective_, slot, sweep_price(now));
    if (penalised) {
      slot.features = s.penalties.features(*slot.graph, derivatives);
      s.penalties.add(t, slot.features);
      charge(objective_, slot, s.penalties.features_price());
    }
    sums[at] += slot.graph->sum();
    denominators[at] += slot.graph->denominator();
    if (slot.term) outputs.push_back(slot.share.size() > 0 ? slot.graph->outputs_size() : 0);
    if (needs_.gradient) slot.graph->add_gradient(gradients[t]);
    if (!needs_.hessian && !needs_.jacobian) slot.graph->release_gradient();
    if (!graphs) slot.graph.reset();
    int64_t bytes = meter.current();
    if (room) report.bytes_per_batch = std::max(report.bytes_per_batch, bytes);
    if (room && report.bytes + bytes <= report.budget) {
      slot.bytes = bytes;
      report.bytes += bytes;
      ++report.kept;
    } else {
      slot.graph.reset();
      slot.features.clear();
    }
  }
  report.batches = static_cast<int64_t>(s.slots.size());
  if (needs_.gradient) objective_.ledger().count_gradients();

  all_reduce_sum(objective_.communicator(), {sums, denominators});
  auto host_sums = sums.cpu(), host_denominators = denominators.cpu();
  for (size_t t = 0; t <= terms + 1; ++t) {
    auto at = static_cast<int64_t>(t);
    bool to_tell = !s.penalties.empty() && s.gradient.defined();
    if (t > terms)
      s.data_finite = std::isfinite(s.value) && (!to_tell || s.gradient.isfinite().all().item<bool>());
    double denominator = t < terms ? host_denominators[at].item<double>() : 1;
    if (denominator == 0) fail_data("data: the weights of all examples (or of their classes) sum to 0");
    double scale = t < terms ? objective_.terms()[t].weight / denominator : 1;
    if (t < terms) s.scale.push_back(scale);
    s.value += scale * host_sums[at].item<double>();
    if (!gradients[t].defined()) continue;
    if (!s.gradient.defined()) {
      s.gradient = gradients[t].mul_(scale);
    } else {
      s.gradient.add_(gradients[t], scale);
    }
  }
  s.data_finite = objective_.communicator().least(s.data_finite ? 1 : 0) > 0;
  if (needs_.gradient) objective_.communicator().all_reduce_sum(s.gradient);
  s.place_outputs(objective_.communicator(), outputs);
  if (!s.penalties.empty()) sweep_penalties();
  s.swept = true;
}

// Outputs in the order of the batches, a batch's in the order of the processes.
void Linearization::State::place_outputs(const Communicator& communicator, const std::vector<int64_t>& own) {
  auto count = static_cast<int64_t>(own.size());
  Tensor sizes = at::zeros({count, communicator.size()}, at::kLong);
  sizes.select(1, communicator.rank()).copy_(at::tensor(own, at::kLong));
  communicator.all_reduce_sum(sizes);
  Tensor ends = sizes.flatten().cumsum(0).view_as(sizes);
  outputs_size = count > 0 ? ends[-1][-1].item<int64_t>() : 0;
  Tensor begins = (ends - sizes).select(1, communicator.rank()).contiguous();
  outputs_begin.assign(begins.data_ptr<int64_t>(), begins.data_ptr<int64_t>() + count);
}

// u is known: what R adds to value and gradient, and the graphs that its Hessian products are taken from.
void Linearization::sweep_penalties() {
  auto& s = *state_;
  s.penalties.settle(s.scale);
  s.value += s.penalties.value();
  objective_.ledger().count_products(s.penalties.feature_products());
  if (!needs_.gradient && !needs_.hessian) return;
  s.visit_features(objective_, [&](Penalties::Features& features, State::Slot& slot, bool rebuilt) {
    MemoryMeter meter;
    s.penalties.add_gradient(features, s.scale_of(slot), needs_.hessian && !rebuilt);
    charge(objective_, slot, s.penalties.gradient_price());
    if (rebuilt) return;
    if (!needs_.hessian) slot.features.clear();
    int64_t bytes = meter.current();
    if ((!slot.graph && slot.features.empty()) || s.report.bytes + bytes > s.report.budget) {
      s.drop(slot);
      return;
    }
    slot.bytes += bytes;
    s.report.bytes += bytes;
    s.report.bytes_per_batch = std::max(s.report.bytes_per_batch, slot.bytes);
  });
  s.penalties.share_gradient();
  if (needs_.gradient) s.penalties.add_gradient_to(s.gradient);
}

double Linearization::value() {
  first_pass();
  return state_->value;
}

const Tensor& Linearization::gradient() {
  require(needs_.gradient, "gradient", "gradient");
  first_pass();
  return state_->gradient;
}

GraphReport Linearization::graphs() {
  first_pass();
  return state_->report;
}

int64_t Linearization::outputs_size() {
  first_pass();
  return state_->outputs_size;
}

void Linearization::require(bool need, const char* what, const char* field) const {
  if (!need)
    fail_usage(fmt::format(
        "linearization: {} was asked for but not announced; make it with Needs{{.{} = true}}", what, field));
}

template <class Apply>
Tensor Linearization::product(const Tensor& V, const char* what, bool with_regularizers, Apply apply) {
  first_pass();
  check_epoch();
  const auto& layout = objective_.layout();
  if (V.dim() < 1 || V.dim() > 2 || V.size(0) != layout.size())
    fail_usage(fmt::format("{}: V has shape {}: must be [{}] or [{}, k]", what, c10::str(V.sizes()),
                           layout.size(), layout.size()));
  Tensor columns = V.dim() == 1 ? V.unsqueeze(0) : V.t().contiguous();
  Tensor result = at::zeros({columns.size(0), layout.size()}, layout.options());
  Needs needs{.hessian = with_regularizers, .gauss_newton = !with_regularizers};
  double kept = with_regularizers ? Price::hessian_product : Price::gauss_newton_product;
  double recomputed =
      with_regularizers ? Price::hessian_product_recomputed : Price::gauss_newton_product_recomputed;
  state_->visit_graphs(objective_, needs,
                       [&](const BatchGraph& graph, const State::Slot& slot, bool rebuilt) {
                         for (int64_t j = 0; j < columns.size(0); ++j) {
                           Tensor row = result[j];
                           apply(graph, slot, row, layout.unflatten(columns[j]));
                         }
                         charge(objective_, slot, rebuilt ? recomputed : kept);
                         charge(objective_, slot, kept, static_cast<double>(columns.size(0) - 1));
                       });
  objective_.ledger().count_products(columns.size(0));
  objective_.communicator().all_reduce_sum(result);
  return V.dim() == 1 ? result[0] : result.t();
}

Tensor Linearization::hessian_product(const Tensor& V) {
  require(needs_.hessian, "a Hessian product", "hessian");
  Tensor Y = product(V, "hessian_product", true,
                     [&](const BatchGraph& graph, const State::Slot& slot, Tensor& flat, const auto& v) {
                       graph.add_hessian_product(flat, v, state_->scale_of(slot));
                     });
  return state_->penalties.empty() ? Y : Y + penalty_product(V);
}

// R'' v = (du/dtheta)' phi''(u) (du/dtheta v) + d2<phi'(u), u>/dtheta2 v, the sums over batches first.
Tensor Linearization::penalty_product(const Tensor& V) {
  auto& s = *state_;
  Tensor columns = V.dim() == 1 ? V.unsqueeze(0) : V.t();
  Tensor result = at::zeros(columns.sizes(), objective_.layout().options());
  auto count = static_cast<double>(columns.size(0));
  auto products = s.penalties.products(columns.size(0));
  s.visit_features(objective_, [&](Penalties::Features& features, State::Slot& slot, bool rebuilt) {
    if (rebuilt) {
      s.penalties.keep_graphs(features);
      charge(objective_, slot, s.penalties.gradient_price());
    }
    s.penalties.add_products(products, result, columns, features, s.scale_of(slot));
    charge(objective_, slot, s.penalties.products_price(), count);
  });
  s.penalties.settle(products);
  if (products.bends)
    s.visit_features(objective_, [&](Penalties::Features& features, State::Slot& slot, bool) {
      s.penalties.add_rest(products, result, features, s.scale_of(slot));
      charge(objective_, slot, s.penalties.rest_price(), count);
    });
  objective_.communicator().all_reduce_sum(result);
  return V.dim() == 1 ? result[0] : result.t();
}

std::string Linearization::not_finite() {
  first_pass();
  if (!state_->data_finite) return "";
  at::NoGradGuard no_grad;
  for (const auto& regularizer : objective_.regularizers()) {
    Tensor value = regularizer->value(objective_.layout());
    if (value.defined() && !value.isfinite().item<bool>()) return regularizer->name();
  }
  return state_->penalties.not_finite();
}

Tensor Linearization::gauss_newton_product(const Tensor& V) {
  require(needs_.gauss_newton, "a Gauss-Newton product", "gauss_newton");
  Tensor Y = product(V, "gauss_newton_product", false,
                     [&](const BatchGraph& graph, const State::Slot& slot, Tensor& flat, const auto& v) {
                       graph.add_gauss_newton_product(flat, v, state_->scale_of(slot));
                     });
  for (const auto& regularizer : objective_.regularizers())
    if (Tensor RV = regularizer->gauss_newton_product(objective_.layout(), V); RV.defined()) Y = Y + RV;
  return Y;
}

Tensor Linearization::output_product(const Tensor& V, const OutputMap& M) {
  require(needs_.gauss_newton, "a product through the outputs", "gauss_newton");
  return product(V, "output_product", false,
                 [&](const BatchGraph& graph, const State::Slot& slot, Tensor& flat, const auto& v) {
                   int64_t first =
                       slot.batch * objective_.terms()[*slot.term].data.batch_size() + slot.share.begin;
                   graph.add_output_product(flat, v, M, *slot.term, first, state_->scale_of(slot));
                 });
}

double Linearization::scale(size_t term) {
  first_pass();
  return state_->scale.at(term);
}

}  // namespace osculant
