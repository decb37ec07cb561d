#include <fmt/format.h>
#include <torch/types.h>

#include <cmath>
#include <optional>

#include "osculant/base/error.h"
#include "osculant/base/text.h"
#include "osculant/linop/vector_space.h"
#include "osculant/objective/layer_rows.h"
#include "osculant/objective/linearization_state.h"

namespace osculant {

Tensor Linearization::jacobian_product(const Tensor& v) {
  require(needs_.gauss_newton, "a Jacobian product", "gauss_newton");
  first_pass();
  check_epoch();
  auto parts = objective_.layout().unflatten(v);
  Tensor Jv = at::zeros({state_->outputs_size}, objective_.layout().options());
  auto begin = state_->outputs_begin.begin();
  auto visit = [&](const BatchGraph& graph, const State::Slot& slot, bool rebuilt) {
    if (slot.share.size() > 0)
      Jv.narrow(0, *begin, graph.outputs_size()).copy_(graph.jacobian_product(parts));
    ++begin;
    objective_.charge(Price::jacobian_product + (rebuilt ? kRebuiltOutputs : 0),
                      static_cast<double>(slot.examples));
  };
  state_->visit_graphs(objective_, {.gauss_newton = true}, visit);
  objective_.communicator().all_reduce_sum(Jv);
  return Jv;
}

Tensor Linearization::gauss_newton_gram(const Tensor& V) {
  require(needs_.gauss_newton, "a Gauss-Newton product", "gauss_newton");
  first_pass();
  check_epoch();
  int64_t k = V.size(1);
  std::vector<std::vector<Tensor>> columns;
  for (int64_t j = 0; j < k; ++j)
    columns.push_back(objective_.layout().unflatten(V.select(1, j).contiguous()));
  Tensor gram = at::zeros({k, k}, at::kDouble);
  auto visit = [&](const BatchGraph& graph, const State::Slot& slot, bool rebuilt) {
    gram.add_(graph.gauss_newton_gram(columns), state_->scale_of(slot));
    auto examples = static_cast<double>(slot.examples);
    objective_.charge(Price::jacobian_product, examples, static_cast<double>(k));
    if (rebuilt) objective_.charge(kRebuiltOutputs, examples);
  };
  state_->visit_graphs(objective_, {.gauss_newton = true}, visit);
  objective_.communicator().all_reduce_sum(gram);
  VectorSpace space(V.size(0), V.options());
  for (const auto& regularizer : objective_.regularizers())
    if (Tensor RV = regularizer->gauss_newton_product(objective_.layout(), V); RV.defined())
      gram += space.gram(V, RV);
  return gram;
}

Tensor Linearization::jacobian_transpose_product(const Tensor& w) {
  require(needs_.gauss_newton, "a Jacobian product", "gauss_newton");
  first_pass();
  check_epoch();
  if (w.dim() != 1 || w.size(0) != state_->outputs_size)
    fail_usage(fmt::format("jacobian_transpose_product: w has shape {}: must be [{}]", c10::str(w.sizes()),
                           state_->outputs_size));
  Tensor flat = at::zeros({objective_.parameters()}, objective_.layout().options());
  auto begin = state_->outputs_begin.begin();
  auto visit = [&](const BatchGraph& graph, const State::Slot& slot, bool rebuilt) {
    if (slot.share.size() > 0)
      graph.add_jacobian_transpose_product(flat, w.narrow(0, *begin, graph.outputs_size()));
    ++begin;
    objective_.charge(Price::jacobian_transpose_product + (rebuilt ? kRebuiltOutputs : 0),
                      static_cast<double>(slot.examples));
  };
  state_->visit_graphs(objective_, {.gauss_newton = true}, visit);
  objective_.communicator().all_reduce_sum(flat);
  return flat;
}

Tensor Linearization::outputs_now() {
  require(needs_.gauss_newton || needs_.jacobian, "the outputs elsewhere", "jacobian");
  if (!state_->swept) first_pass();
  Tensor outputs = at::zeros({state_->outputs_size}, objective_.layout().options());
  auto begin = state_->outputs_begin.begin();
  for (const auto& slot : state_->slots) {
    if (!slot.term) continue;
    BatchGraph graph(objective_.terms()[*slot.term], shared_batch(objective_, slot), {.outputs = true});
    if (slot.share.size() > 0) outputs.narrow(0, *begin, graph.outputs_size()).copy_(graph.outputs());
    ++begin;
    objective_.charge(Price::forward, static_cast<double>(slot.examples));
  }
  objective_.communicator().all_reduce_sum(outputs);
  return outputs;
}

Tensor Linearization::gauss_newton_difference(const Tensor& z) {
  require(needs_.gauss_newton || needs_.jacobian, "a Gauss-Newton difference", "jacobian");
  first_pass();
  check_epoch();
  Tensor flat = at::zeros({objective_.parameters()}, objective_.layout().options());
  auto begin = state_->outputs_begin.begin();
  auto visit = [&](const BatchGraph& graph, const State::Slot& slot, bool rebuilt) {
    if (slot.share.size() > 0)
      graph.add_gauss_newton_difference(flat, z.narrow(0, *begin, graph.outputs_size()),
                                        state_->scale_of(slot));
    ++begin;
    objective_.charge(Price::jacobian_transpose_product + (rebuilt ? Price::forward : 0),
                      static_cast<double>(slot.examples));
  };
  state_->visit_graphs(objective_, {.jacobian = true}, visit);
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
      Tensor row = sums[*slot.term][p], signs = random.rademacher({slot.examples}, row.options());
      if (slot.share.size() > 0)
        graph.add_weighted_gradient(row, signs.narrow(0, slot.share.begin, slot.share.size()),
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

namespace {

// S'J by the layers' closed forms, [C, N, n], where they tell all parameters.
std::optional<Tensor> layer_root(const Objective& objective, size_t term, const Batch& batch,
                                 const Tensor& S) {
  if (objective.terms()[term].model.couples_examples()) return std::nullopt;
  LayerFactors factors(objective, term, batch);
  if (!factors.untapped().empty()) return std::nullopt;
  auto shape = factors.outputs()[0].sizes().vec();
  shape.insert(shape.begin(), S.size(2));
  return LayerRows(factors, {S.movedim(2, 0).reshape(shape)}, objective.memory_budget()).dense();
}

}  // namespace

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
        auto root = graph.gauss_newton_root([&](const Batch& batch, const Tensor& S) {
          return layer_root(objective_, *slot.term, batch, S);
        });
        double scale = std::sqrt(state_->scale_of(slot));
        visit(root.A.mul_(scale), root.r.mul_(scale));
        auto examples = static_cast<double>(slot.examples);
        if (rebuilt) objective_.charge(Price::forward, examples);
        objective_.charge(Price::jacobian_transpose_product, examples, static_cast<double>(root.passes));
      });
}

}  // namespace osculant
