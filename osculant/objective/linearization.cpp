#include "osculant/objective/linearization.h"

#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "osculant/base/error.h"
#include "osculant/base/memory.h"
#include "osculant/base/text.h"
#include "osculant/objective/batch_graph.h"

namespace osculant {

// A batch of a term and, while the budget lasts, its graphs. The part of the objective that depends on the
// parameters alone is a slot too, with no term.
struct Linearization::State {
  struct Slot {
    std::optional<size_t> term = std::nullopt;
    int64_t batch = 0;
    int64_t examples = 0;
    std::unique_ptr<BatchGraph> graph = nullptr;
  };

  int64_t epoch = 0;
  bool swept = false;
  std::vector<Slot> slots;
  std::vector<double> scale;  // of a term: weight / total denominator
  double value = 0;
  Tensor gradient;
  int64_t outputs_size = 0;
  GraphReport report;

  // Calls visit(graph, slot, rebuilt) for every slot that `needs` concerns, building graphs that were not
  // kept just for the call.
  template <class Visit>
  void visit_graphs(const Objective& objective, const Needs& needs, Visit visit) const;

  double scale_of(const Slot& slot) const { return slot.term ? scale[*slot.term] : 1.0; }
};

std::string GraphReport::str() const {
  std::string text = fmt::format("graphs of {} of {} batches kept ({} of a budget of {})", kept, batches,
                                 format_bytes(bytes), format_bytes(budget));
  if (kept < batches)
    text += fmt::format("; the others are rebuilt for each product ({} each)", format_bytes(bytes_per_batch));
  return text;
}

Linearization::Linearization(Objective objective, Needs needs)
    : objective_(std::move(objective)), needs_(needs), state_(std::make_unique<State>()) {
  objective_.layout().check();
  if ((needs_.gauss_newton || needs_.jacobian) && !objective_.has_outputs())
    fail_usage(
        "objective: is a function of the parameters alone; Gauss-Newton, Fisher and Jacobian products need "
        "outputs and a loss (use the Hessian, or give the objective as model, loss and data)");
  for (size_t t = 0; t < objective_.terms().size(); ++t) {
    const auto& term = objective_.terms()[t];
    if (term.model.couples_examples() && term.data.batches() > 1 &&
        (needs_.hessian || needs_.gauss_newton || needs_.jacobian))
      fail_usage(
          "model: batch norm in training mode couples the examples of a batch, so products over several "
          "batches "
          "are those of no one objective; call model.train(false), or linearize on a single batch");
    for (int64_t b = 0; b < term.data.batches(); ++b) {
      int64_t rest = term.data.examples() - b * term.data.batch_size();
      state_->slots.push_back({.term = t, .batch = b, .examples = std::min(term.data.batch_size(), rest)});
    }
  }
  if (!objective_.has_outputs() || !objective_.regularizers().empty()) state_->slots.push_back({});
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

namespace {

std::unique_ptr<BatchGraph> make_graph(const Objective& objective, std::optional<size_t> term, int64_t batch,
                                       const Needs& needs) {
  if (term) {
    const Term& of = objective.terms()[*term];
    return std::make_unique<BatchGraph>(of, objective.batch(*term, batch), needs);
  }
  at::AutoGradMode mode(needs.gradient || needs.hessian);
  return std::make_unique<BatchGraph>(objective.layout(), objective.parameter_value(), needs);
}

constexpr double kRebuiltOutputs = Price::forward + Price::output_graph;

double sweep_price(const Needs& needs) {
  double price = needs.hessian ? Price::gradient_graph : needs.gradient ? Price::gradient : Price::forward;
  return needs.gauss_newton ? price + Price::output_graph : price;
}

}  // namespace

void Linearization::first_pass() {
  auto& s = *state_;
  if (s.swept) return;
  check_epoch();
  auto& report = s.report = {};
  s.scale.clear();
  s.value = 0;
  s.outputs_size = 0;
  report.budget = objective_.memory_budget();
  size_t terms = objective_.terms().size();
  auto f64 = at::TensorOptions(at::kDouble).device(objective_.layout().device());
  // One number a term on the device: nothing is brought to the host before the sweep is over.
  Tensor sums = at::zeros({static_cast<int64_t>(terms) + 1}, f64), denominators = at::zeros_like(sums);
  std::vector<Tensor> gradients(terms + 1);
  bool graphs = needs_.hessian || needs_.gauss_newton || needs_.jacobian;
  Needs sweep = needs_;
  sweep.gradient = needs_.gradient || needs_.hessian;
  Needs plain{.gradient = needs_.gradient};

  for (auto& slot : s.slots) {
    size_t t = slot.term.value_or(terms);
    auto at = static_cast<int64_t>(t);
    if (needs_.gradient && !gradients[t].defined())
      gradients[t] = at::zeros({objective_.parameters()}, objective_.layout().options());
    bool room = graphs && report.bytes + report.bytes_per_batch <= report.budget;
    Needs now = room ? sweep : plain;
    MemoryMeter meter;
    slot.graph = make_graph(objective_, slot.term, slot.batch, now);
    objective_.charge(sweep_price(now), static_cast<double>(slot.examples));
    sums[at] += slot.graph->sum();
    denominators[at] += slot.graph->denominator();
    s.outputs_size += slot.graph->outputs_size();
    if (needs_.gradient) slot.graph->add_gradient(gradients[t]);
    if (!needs_.hessian && !needs_.jacobian) slot.graph->release_gradient();
    int64_t bytes = meter.current();
    if (room) report.bytes_per_batch = std::max(report.bytes_per_batch, bytes);
    if (room && report.bytes + bytes <= report.budget) {
      report.bytes += bytes;
      ++report.kept;
    } else {
      slot.graph.reset();
    }
  }
  report.batches = static_cast<int64_t>(s.slots.size());
  if (needs_.gradient) objective_.ledger().count_gradients();

  objective_.communicator().all_reduce_sum(sums);
  objective_.communicator().all_reduce_sum(denominators);
  auto host_sums = sums.cpu(), host_denominators = denominators.cpu();
  for (size_t t = 0; t <= terms; ++t) {
    auto at = static_cast<int64_t>(t);
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
  if (needs_.gradient) objective_.communicator().all_reduce_sum(s.gradient);
  s.swept = true;
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

template <class Visit>
void Linearization::State::visit_graphs(const Objective& objective, const Needs& needs, Visit visit) const {
  for (const auto& slot : slots) {
    if (!slot.term && !needs.hessian) continue;  // a part without outputs has a Hessian alone
    std::unique_ptr<BatchGraph> rebuilt;
    if (!slot.graph) rebuilt = make_graph(objective, slot.term, slot.batch, needs);
    visit(slot.graph ? *slot.graph : *rebuilt, slot, rebuilt != nullptr);
  }
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
                         auto examples = static_cast<double>(slot.examples);
                         objective_.charge(rebuilt ? recomputed : kept, examples);
                         objective_.charge(kept, examples, static_cast<double>(columns.size(0) - 1));
                       });
  objective_.ledger().count_products(columns.size(0));
  objective_.communicator().all_reduce_sum(result);
  return V.dim() == 1 ? result[0] : result.t();
}

Tensor Linearization::hessian_product(const Tensor& V) {
  require(needs_.hessian, "a Hessian product", "hessian");
  return product(V, "hessian_product", true,
                 [&](const BatchGraph& graph, const State::Slot& slot, Tensor& flat, const auto& v) {
                   graph.add_hessian_product(flat, v, state_->scale_of(slot));
                 });
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
                   int64_t first = slot.batch * objective_.terms()[*slot.term].data.batch_size();
                   graph.add_output_product(flat, v, M, *slot.term, first, state_->scale_of(slot));
                 });
}

double Linearization::scale(size_t term) {
  first_pass();
  return state_->scale.at(term);
}

Tensor Linearization::jacobian_product(const Tensor& v) {
  require(needs_.gauss_newton, "a Jacobian product", "gauss_newton");
  first_pass();
  check_epoch();
  auto parts = objective_.layout().unflatten(v);
  std::vector<Tensor> Jv;
  auto visit = [&](const BatchGraph& graph, const State::Slot& slot, bool rebuilt) {
    Jv.push_back(graph.jacobian_product(parts));
    objective_.charge(Price::jacobian_product + (rebuilt ? kRebuiltOutputs : 0),
                      static_cast<double>(slot.examples));
  };
  state_->visit_graphs(objective_, {.gauss_newton = true}, visit);
  return at::cat(Jv);
}

Tensor Linearization::jacobian_transpose_product(const Tensor& w) {
  require(needs_.gauss_newton, "a Jacobian product", "gauss_newton");
  first_pass();
  check_epoch();
  if (w.dim() != 1 || w.size(0) != state_->outputs_size)
    fail_usage(fmt::format("jacobian_transpose_product: w has shape {}: must be [{}]", c10::str(w.sizes()),
                           state_->outputs_size));
  Tensor flat = at::zeros({objective_.parameters()}, objective_.layout().options());
  int64_t begin = 0;
  auto visit = [&](const BatchGraph& graph, const State::Slot& slot, bool rebuilt) {
    graph.add_jacobian_transpose_product(flat, w.narrow(0, begin, graph.outputs_size()));
    begin += graph.outputs_size();
    objective_.charge(Price::jacobian_transpose_product + (rebuilt ? kRebuiltOutputs : 0),
                      static_cast<double>(slot.examples));
  };
  state_->visit_graphs(objective_, {.gauss_newton = true}, visit);
  objective_.communicator().all_reduce_sum(flat);
  return flat;
}

Tensor Linearization::mean_squared_gradients(int64_t probes, RandomStream& random) {
  require(needs_.gauss_newton || needs_.jacobian, "squared gradients", "jacobian");
  first_pass();
  check_epoch();
  auto count = static_cast<double>(probes);
  std::vector<Tensor> sums;  // of each term, a row a probe
  for (size_t t = 0; t < objective_.terms().size(); ++t)
    sums.push_back(at::zeros({probes, objective_.parameters()}, objective_.layout().options()));
  auto visit = [&](const BatchGraph& graph, const State::Slot& slot, bool rebuilt) {
    auto examples = static_cast<double>(slot.examples);
    for (int64_t p = 0; p < probes; ++p) {
      Tensor row = sums[*slot.term][p];
      graph.add_weighted_gradient(row, random.rademacher({slot.examples}, row.options()),
                                  state_->scale_of(slot));
    }
    objective_.charge(Price::jacobian_transpose_product, examples, count);
    if (rebuilt) objective_.charge(Price::forward, examples);
  };
  state_->visit_graphs(objective_, {.jacobian = true}, visit);
  Tensor result = at::zeros({objective_.parameters()}, objective_.layout().options());
  for (size_t t = 0; t < sums.size(); ++t) {
    // The objective's mean has 1 / N in each g_i already: N (sum s_i g_i / N)^2.
    objective_.communicator().all_reduce_sum(sums[t]);
    result.add_(sums[t].square().mean(0), static_cast<double>(objective_.terms()[t].data.examples()));
  }
  return result;
}

void Linearization::gauss_newton_root(const std::function<void(const Tensor&, const Tensor&)>& visit) {
  require(needs_.jacobian, "the root of the Gauss-Newton matrix", "jacobian");
  first_pass();
  check_epoch();
  int64_t bytes_per_row =
      objective_.parameters() * static_cast<int64_t>(objective_.layout().theta().element_size());
  state_->visit_graphs(
      objective_, {.jacobian = true}, [&](const BatchGraph& graph, const State::Slot& slot, bool rebuilt) {
        int64_t bytes = graph.outputs_size() * bytes_per_row;
        if (bytes > objective_.memory_budget())
          fail(ErrorKind::memory,
               fmt::format("the Jacobian of a batch ({} outputs by {} parameters) would take {}, the "
                           "memory budget is {}; take smaller batches",
                           graph.outputs_size(), objective_.parameters(), format_bytes(bytes),
                           format_bytes(objective_.memory_budget())));
        auto root = graph.gauss_newton_root();
        double scale = std::sqrt(state_->scale_of(slot));
        visit(root.A.mul_(scale), root.r.mul_(scale));
        auto examples = static_cast<double>(slot.examples);
        if (rebuilt) objective_.charge(Price::forward, examples);
        objective_.charge(Price::jacobian_transpose_product, examples, static_cast<double>(root.passes));
      });
}

}  // namespace osculant
