#include "osculant/curvature/example_gradients.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "osculant/base/error.h"
#include "osculant/base/memory.h"
#include "osculant/base/text.h"
#include "osculant/curvature/empirical_fisher.h"

namespace osculant {
namespace {

// A batch with the rows of its examples.
struct BatchRows {
  LayerFactors factors;
  LayerRows rows;
  int64_t first;

  BatchRows(const Objective& objective, const Batch& batch, int64_t first, const RowColumns& columns,
            const LayerFactorsOptions& options = {})
      : factors(objective, 0, batch, options),
        rows(factors, columns(factors), objective.memory_budget()),
        first(first) {}

  int64_t begin() const { return first * rows.columns(); }
};

LayerFactors::Cotangents of_loss(const LayerFactors& factors) {
  return factors.loss_gradient();
}

LayerFactors::Cotangents of_outputs(const LayerFactors& factors) {
  if (factors.outputs().size() != 1)
    fail_usage(fmt::format("tangent kernel: of models with one output; this one gives {}",
                           factors.outputs().size()));
  const Tensor& z = factors.outputs()[0];
  int64_t N = z.size(0), K = z.numel() / std::max<int64_t>(N, 1);
  auto shape = z.sizes().vec();
  shape.insert(shape.begin(), K);
  return {at::eye(K, z.options().requires_grad(false)).unsqueeze(1).expand({K, N, K}).reshape(shape)};
}

// f_i = scale * l_i: the objective is s * sum of w_i l_i, and p_i = w_i / W, so scale = s W.
double scale_of_examples(const Objective& objective) {
  return objective.without_regularizers().linearize({})->scale(0) * total_weight(objective);
}

// p_i, [N] float64.
Tensor example_shares(const Objective& objective) {
  std::vector<Tensor> weights;
  for (int64_t b = 0; b < objective.terms()[0].data.batches(); ++b) {
    Batch batch = objective.batch(0, b);
    auto options = objective.layout().options().dtype(at::kDouble);
    weights.push_back(batch.weights.defined() ? batch.weights.to(options)
                                              : at::ones({batch.size()}, options));
  }
  Tensor w = at::cat(weights);
  return w / w.sum();
}

// From the numbers of the processes' shares of all batches, one process after the other.
Tensor in_order_of_data(const Communicator& processes, const BatchSource& data, const Tensor& mine) {
  std::vector<Share> batches;
  for (int64_t begin = 0; begin < data.examples(); begin += data.batch_size())
    batches.push_back({begin, std::min(begin + data.batch_size(), data.examples())});
  std::vector<int64_t> sizes;
  for (int64_t r = 0; r < processes.size(); ++r) {
    sizes.push_back(0);
    for (const Share& batch : batches) sizes.back() += share_of(batch.size(), r, processes.size()).size();
  }
  Tensor gathered = processes.all_gather(mine, sizes), ordered = at::empty_like(gathered);
  int64_t at = 0;
  for (int64_t r = 0; r < processes.size(); ++r)
    for (const Share& batch : batches) {
      Share share = share_of(batch.size(), r, processes.size());
      ordered.narrow(0, batch.begin + share.begin, share.size()).copy_(gathered.narrow(0, at, share.size()));
      at += share.size();
    }
  return ordered;
}

// Numbers of each example, [N] in the order of the data, in `kinds` kinds: those of a process's share of each
// batch from the rows of their examples, and the others' from the others.
using NumbersOfRows = std::function<std::vector<Tensor>(const LayerRows&)>;
std::vector<Tensor> by_example(const Objective& objective, size_t kinds, const NumbersOfRows& numbers) {
  const Communicator& processes = objective.communicator();
  const BatchSource& data = objective.terms()[0].data;
  bool whole = processes.alone() || objective.terms()[0].model.required_batch_size() > 0;
  std::vector<std::vector<Tensor>> mine(kinds);
  auto options = objective.layout().options();
  for (size_t k = 0; k < kinds; ++k) mine[k].push_back(at::empty({0}, options));
  int64_t first = 0;
  for (int64_t b = 0; b < data.batches(); first += data.batch_size(), ++b) {
    Batch batch = objective.batch(0, b);
    Share share = whole ? Share{0, batch.size()} : share_of(batch.size(), processes);
    // One for those who have none, whose work is charged as everybody's, and who drop it.
    Share looked = share.size() > 0 ? share : Share{0, 1};
    Batch part = whole ? batch : batch.slice(looked.begin, looked.end);
    auto found = numbers(
        BatchRows(objective, part, first + looked.begin, of_loss, {.share = looked, .of = batch.size()})
            .rows);
    for (size_t k = 0; k < kinds && share.size() > 0; ++k) mine[k].push_back(found[k]);
  }
  std::vector<Tensor> all;
  for (auto& parts : mine)
    all.push_back(whole ? at::cat(parts) : in_order_of_data(processes, data, at::cat(parts)));
  return all;
}

Tensor assembled(const Objective& objective, int64_t size, const std::string& what,
                 const std::function<void(const BlockVisitor&)>& blocks) {
  int64_t bytes = size * size * static_cast<int64_t>(objective.layout().theta().element_size());
  if (bytes > objective.memory_budget())
    fail(ErrorKind::memory,
         fmt::format("{}: {} x {} entries would take {}, the memory budget is {}; visit it by blocks", what,
                     size, size, format_bytes(bytes), format_bytes(objective.memory_budget())));
  Tensor matrix = at::empty({size, size}, objective.layout().options());
  blocks([&](int64_t row, int64_t column, const Tensor& block) {
    matrix.narrow(0, row, block.size(0)).narrow(1, column, block.size(1)).copy_(block);
    if (row != column) matrix.narrow(0, column, block.size(1)).narrow(1, row, block.size(0)).copy_(block.t());
  });
  return matrix;
}

}  // namespace

void visit_row_products(const Objective& objective, const RowColumns& columns, double scale,
                        const BlockVisitor& visit) {
  int64_t batches = objective.terms()[0].data.batches(), first = 0, held_bytes = 0;
  std::vector<std::unique_ptr<BatchRows>> held(static_cast<size_t>(batches));
  std::vector<int64_t> starts;
  for (int64_t b = 0; b < batches; ++b) {
    MemoryMeter meter;
    Batch batch = objective.batch(0, b);
    auto mine = std::make_unique<BatchRows>(objective, batch, first, columns);
    int64_t bytes = meter.current();
    starts.push_back(first);
    first += batch.size();
    for (int64_t c = 0; c <= b; ++c) {
      std::unique_ptr<BatchRows> again;
      const BatchRows* other = c == b ? mine.get() : held[static_cast<size_t>(c)].get();
      if (!other) {
        again = std::make_unique<BatchRows>(objective, objective.batch(0, c), starts[static_cast<size_t>(c)],
                                            columns);
        other = again.get();
      }
      Tensor block = mine->rows.products_with(other->rows).permute({1, 0, 3, 2});
      visit(mine->begin(), other->begin(), block.flatten(2, 3).flatten(0, 1).mul(scale));
    }
    if (held_bytes + bytes > objective.memory_budget() / 2) continue;
    held_bytes += bytes;
    held[static_cast<size_t>(b)] = std::move(mine);
  }
}

double total_weight(const Objective& objective) {
  const BatchSource& data = objective.terms()[0].data;
  Tensor sum = at::zeros({}, at::kDouble);
  for (int64_t b = 0; b < data.batches(); ++b) {
    Batch batch = data.batch(b);
    if (!batch.weights.defined()) return static_cast<double>(data.examples());
    sum += batch.weights.sum(at::kDouble).cpu();
  }
  return sum.item<double>();
}

void visit_example_gradients(const Objective& objective, const GradientVisitor& visit) {
  require_single_gradients(objective, "example gradients");
  double scale = scale_of_examples(objective);
  int64_t bytes = objective.parameters() * static_cast<int64_t>(objective.layout().theta().element_size());
  int64_t most = std::max<int64_t>(1, objective.memory_budget() / std::max<int64_t>(1, 2 * bytes)), first = 0;
  bool whole = objective.terms()[0].model.required_batch_size() > 0;
  for (int64_t b = 0; b < objective.terms()[0].data.batches(); ++b) {
    Batch batch = objective.batch(0, b);
    int64_t step = whole ? batch.size() : std::min(most, batch.size());
    for (int64_t begin = 0; begin < batch.size(); begin += step) {
      Batch piece = batch.slice(begin, std::min(begin + step, batch.size()));
      BatchRows rows(objective, piece, first, of_loss);
      visit(first, rows.rows.dense()[0].mul_(scale));
      first += piece.size();
    }
  }
}

Tensor squared_gradient_norms(const Objective& objective) {
  require_single_gradients(objective, "gradient norms");
  double scale = scale_of_examples(objective);
  return by_example(objective, 1, [&](const LayerRows& rows) -> std::vector<Tensor> {
    return {rows.squared_norms()[0] * (scale * scale)};
  })[0];
}

Tensor gradient_products(const Objective& objective, const Tensor& v, Tensor* norms) {
  require_single_gradients(objective, "gradient products");
  double scale = scale_of_examples(objective);
  auto found = by_example(objective, norms ? 2 : 1, [&](const LayerRows& rows) {
    std::vector<Tensor> numbers{rows.products_with(v)[0] * scale};
    if (norms) numbers.push_back(rows.squared_norms()[0] * (scale * scale));
    return numbers;
  });
  if (norms) *norms = found[1];
  return found[0];
}

void visit_gradient_products(const Objective& objective, const BlockVisitor& visit) {
  require_single_gradients(objective, "gradient products");
  double scale = scale_of_examples(objective);
  visit_row_products(objective, of_loss, scale * scale, visit);
}

Tensor gradient_products(const Objective& objective) {
  return assembled(objective, objective.examples(), "gradient products",
                   [&](const BlockVisitor& visit) { visit_gradient_products(objective, visit); });
}

void visit_tangent_kernel(const Objective& objective, const BlockVisitor& visit) {
  require_single_gradients(objective, "tangent kernel");
  visit_row_products(objective, of_outputs, 1, visit);
}

Tensor tangent_kernel(const Objective& objective) {
  require_single_gradients(objective, "tangent kernel");
  int64_t outputs = objective.without_regularizers().linearize({})->outputs_size();
  return assembled(objective, outputs, "tangent kernel",
                   [&](const BlockVisitor& visit) { visit_tangent_kernel(objective, visit); });
}

Tensor empirical_fisher_matrix(const Objective& objective) {
  int64_t n = objective.parameters();
  int64_t bytes = n * n * static_cast<int64_t>(objective.layout().theta().element_size());
  if (bytes > objective.memory_budget())
    fail(ErrorKind::memory,
         fmt::format("empirical Fisher: {} x {} entries would take {}, the memory budget is {}; "
                     "EmpiricalFisher forms no matrix",
                     n, n, format_bytes(bytes), format_bytes(objective.memory_budget())));
  Tensor shares = example_shares(objective), E = at::zeros({n, n}, objective.layout().options());
  visit_example_gradients(objective, [&](int64_t first, const Tensor& G) {
    Tensor p = shares.narrow(0, first, G.size(0)).to(G.options());
    E.addmm_(G.t(), G * p.unsqueeze(1));
  });
  return E;
}

Tensor empirical_fisher_eigenvalues(const Objective& objective) {
  int64_t n = objective.parameters(), N = objective.examples();
  Tensor A;
  if (N < n) {
    Tensor root = example_shares(objective).sqrt();
    A = gradient_products(objective).to(at::kDouble) * root.unsqueeze(1) * root;
  } else {
    A = empirical_fisher_matrix(objective).to(at::kDouble);
  }
  return at::linalg_eigvalsh(A).flip(0).clamp_min(0);
}

}  // namespace osculant
