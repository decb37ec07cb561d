#include "osculant/curvature/kronecker_factors.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "osculant/base/error.h"
#include "osculant/base/text.h"
#include "osculant/comm/flat_reduction.h"
#include "osculant/linop/symmetric.h"

namespace osculant {
namespace {

// x [N, ...] times roots of the weights, if there are any.
Tensor weighted(const Tensor& x, const Tensor& weights, int64_t dimension) {
  if (!weights.defined()) return x;
  std::vector<int64_t> shape(static_cast<size_t>(x.dim()), 1);
  shape[static_cast<size_t>(dimension)] = x.size(dimension);
  return x * weights.to(x.options()).sqrt().view(shape);
}

// [..., groups, m] as rows of each group: [groups, ..., m] with all that leads in one dimension.
Tensor rows_of(const Tensor& x) {
  return x.movedim(-2, 0).reshape({x.size(-2), -1, x.size(-1)});
}

// Lower triangles += alpha X'X, X [groups, rows, d].
void add_gram(BlockDiagonal& S, const Tensor& X, double alpha) {
  int64_t begin = 0;
  for (Tensor block : S.blocks()) {
    osculant::add_gram(block, X.narrow(2, begin, block.size(1)), 1, alpha);
    begin += block.size(1);
  }
}

double mass_of(const LayerSample& sample, const UseSample& use) {
  double examples =
      sample.weights.defined() ? sample.weights.sum().item<double>() : static_cast<double>(use.examples());
  return sample.share * examples;
}

BlockDiagonal scaled(const BlockDiagonal& B, double alpha) {
  return *B.mapped([&](const Tensor& block) { return std::optional(block * alpha); });
}

// A + B of one size; a diagonal one may meet blocks.
BlockDiagonal plus(const BlockDiagonal& A, const BlockDiagonal& B) {
  bool diagonal = !is_dense(A.blocks()[0]), other = !is_dense(B.blocks()[0]);
  if (diagonal && !other) return plus(B, A);
  Tensor d = B.diagonal();
  int64_t begin = 0;
  size_t i = 0;
  return *A.mapped([&](const Tensor& block) {
    if (diagonal == other) return std::optional(block + B.blocks()[i++]);
    Tensor sum = block.clone();
    sum.diagonal(0, 1, 2).add_(d.narrow(1, begin, block.size(1)));
    begin += block.size(1);
    return std::optional(sum);
  });
}

BlockDiagonal symmetric(const BlockDiagonal& lower) {
  return *lower.mapped(
      [](const Tensor& B) { return std::optional(is_dense(B) ? symmetric_from_lower(B) : B); });
}

}  // namespace

KroneckerFactors::KroneckerFactors(WeightSharing sharing, int64_t max_dimension, int64_t memory_budget)
    : sharing_(sharing), max_dimension_(max_dimension), memory_budget_(memory_budget) {
  require_at_least("max_dimension", static_cast<double>(max_dimension), 1);
}

BlockDiagonal KroneckerFactors::zeros(const std::string& name, int64_t groups, int64_t size,
                                      const at::TensorOptions& options) {
  std::vector<std::pair<int64_t, int64_t>> parts;
  int64_t count = (size + max_dimension_ - 1) / max_dimension_;
  for (int64_t i = 0; i < count; ++i) {
    int64_t part = size * (i + 1) / count - size * i / count;
    parts.emplace_back(groups, part);
    bytes_ += groups * part * part * static_cast<int64_t>(options.dtype().itemsize());
  }
  if (bytes_ > memory_budget_)
    fail(ErrorKind::memory,
         fmt::format("K-FAC: with the factors of {} ({} rows) all factors take {}, of a memory budget of {}; "
                     "max_dimension = {} takes half of that, or leave a part of the parameters frozen",
                     name, size, format_bytes(bytes_), format_bytes(memory_budget_),
                     std::max<int64_t>(1, std::min(size, max_dimension_) / 2)));
  std::vector<Tensor> blocks;
  for (auto [batch, part] : parts) blocks.push_back(at::zeros({batch, part, part}, options));
  return BlockDiagonal(std::move(blocks));
}

void KroneckerFactors::set_inputs(int64_t offset, BlockDiagonal A) {
  known_.insert_or_assign(offset, std::move(A));
}

std::vector<int64_t> KroneckerFactors::of_data() const {
  std::vector<int64_t> offsets;
  for (const Slot& slot : slots_)
    if (slot.of_data) offsets.push_back(slot.place.offset);
  return offsets;
}

KroneckerFactors::Slot& KroneckerFactors::slot_of(const std::string& name, const MatrixPlace& place) {
  auto [at, is_new] = by_offset_.try_emplace(place.offset, slots_.size());
  if (is_new) slots_.push_back({.name = name, .place = place, .sums = {}});
  return slots_[at->second];
}

void KroneckerFactors::add(const LayerSample& sample) {
  denominators_[sample.term] += sample.denominator;
  for (const UseSample& use : sample.uses) add(sample, use);
  for (const auto& parameter : sample.untapped) {
    bool known = std::any_of(untapped_.begin(), untapped_.end(),
                             [&](const auto& other) { return other.index == parameter.index; });
    if (!known) untapped_.push_back(parameter);
  }
  for (const auto& [name, offset, values] : sample.diagonals) {
    auto [at, is_new] = diagonals_[offset].sums.try_emplace(sample.term, at::zeros_like(values));
    at->second.add_(values, sample.share);
    diagonals_[offset].name = name;
  }
}

void KroneckerFactors::add(const LayerSample& sample, const UseSample& use) {
  const Tensor& d = use.derivatives;
  Slot& slot = slot_of(use.name, use.place);
  bool opposed = slot.place.transposed != use.place.transposed;
  slot.of_data = slot.of_data && use.of_data && !opposed && use.kind != LayerKind::normalization;
  bool known = known_.contains(use.place.offset);
  auto [at, is_new] = slot.sums.try_emplace({sample.term, opposed});
  Sums& sums = at->second;
  int64_t groups = use.place.groups;
  bool embedding = use.kind == LayerKind::embedding;
  if (is_new) {
    sums.outputs = zeros(use.name, groups, use.place.rows, d.options());
    if (embedding)
      sums.inputs = BlockDiagonal({at::zeros({1, use.place.columns}, d.options())});
    else if (!known)
      sums.inputs = zeros(use.name, groups, use.place.columns, d.options());
  }
  double mass = mass_of(sample, use);
  sums.mass += mass;
  if (use.kind == LayerKind::normalization) {
    // Units: the sum over t of d (a, 1), [C, N, units, columns], with the scale in G.
    Tensor v = weighted((d * use.inputs).sum(2), sample.weights, 1);
    add_gram(sums.inputs, rows_of(v), sample.share);
    sums.outputs.blocks()[0].add_(mass);
    return;
  }
  bool reduce = sharing_ == WeightSharing::reduce || use.kind == LayerKind::bias;
  double positions = static_cast<double>(reduce && !embedding ? 1 : use.positions());
  add_gram(sums.outputs, rows_of(weighted(reduce ? d.sum(2) : d, sample.weights, 1)), sample.share);
  if (known) return;
  if (embedding) {
    Tensor count = at::full(use.inputs.sizes(), sample.share / positions, d.options());
    if (sample.weights.defined()) count.mul_(sample.weights.to(d.options()).unsqueeze(1));
    sums.inputs.blocks()[0][0].index_add_(0, use.inputs.flatten(), count.flatten());
    return;
  }
  Tensor a = weighted(reduce ? use.inputs.mean(1) : use.inputs, sample.weights, 0);
  add_gram(sums.inputs, rows_of(a), sample.share / positions);
}

namespace {

// Numbers kept on the host as a tensor that can be reduced, and back.
class HostNumbers {
 public:
  void add(double& number) { at_.push_back(&number); }
  Tensor tensor() {
    std::vector<double> values;
    for (const double* number : at_) values.push_back(*number);
    return tensor_ = at::tensor(values, at::kDouble);
  }
  void put_back() const {
    for (size_t i = 0; i < at_.size(); ++i) *at_[i] = tensor_[static_cast<int64_t>(i)].item<double>();
  }

 private:
  std::vector<double*> at_;
  Tensor tensor_;
};

Tensor triangle_of(const Tensor& block) {
  return at::ones({block.size(1), block.size(2)}, block.options().dtype(at::kBool)).tril().expand_as(block);
}

}  // namespace

void KroneckerFactors::share(const Communicator& processes) {
  if (processes.alone()) return;
  std::vector<Tensor> tensors, dense;
  HostNumbers numbers;
  for (Slot& slot : slots_)
    for (auto& [key, sums] : slot.sums) {
      for (const auto* side : {&sums.inputs, &sums.outputs})
        for (const auto& block : side->blocks()) (is_dense(block) ? dense : tensors).push_back(block);
      numbers.add(sums.mass);
    }
  // Of a dense block the triangle, which half of a message holds.
  std::vector<Tensor> triangles;
  for (const auto& block : dense) triangles.push_back(block.masked_select(triangle_of(block)));
  tensors.insert(tensors.end(), triangles.begin(), triangles.end());
  for (auto& [offset, diagonal] : diagonals_)
    for (auto& [term, sum] : diagonal.sums) tensors.push_back(sum);
  for (auto& [term, denominator] : denominators_) numbers.add(denominator);
  tensors.push_back(numbers.tensor());
  all_reduce_sum(processes, tensors);
  numbers.put_back();
  for (size_t i = 0; i < dense.size(); ++i) dense[i].masked_scatter_(triangle_of(dense[i]), triangles[i]);
}

// A parameter that one term's layers tell and another's do not is the layers'.
bool KroneckerFactors::covers(const MatrixPlace& place) const {
  auto meets = [&](int64_t begin, int64_t size) {
    return begin < place.offset + place.size() && place.offset < begin + size;
  };
  return std::any_of(slots_.begin(), slots_.end(), [&](const Slot& slot) {
    int64_t apart = slot.place.last_column ? slot.place.groups * slot.place.rows : 0;
    return meets(slot.place.offset, slot.place.size() - apart) ||
           (apart > 0 && meets(*slot.place.last_column, apart));
  });
}

// G of a weight that is used in one orientation.
BlockDiagonal KroneckerFactors::outputs_of(const Slot& slot) const {
  BlockDiagonal G;
  for (const auto& [key, sums] : slot.sums) {
    BlockDiagonal part = scaled(sums.outputs, 1 / denominators_.at(key.first));
    G = G.blocks().empty() ? part : plus(G, part);
  }
  return symmetric(G);
}

std::vector<KroneckerBlock> KroneckerFactors::blocks() const {
  std::vector<KroneckerBlock> blocks;
  for (const Slot& slot : slots_) {
    if (auto known = known_.find(slot.place.offset); known != known_.end()) {
      blocks.push_back({slot.name, slot.place, outputs_of(slot), known->second});
      continue;
    }
    std::map<bool, Sums> merged;  // over terms, by orientation
    for (const auto& [key, sums] : slot.sums) {
      double scale = 1 / denominators_.at(key.first);
      Sums part{scaled(sums.inputs, scale), scaled(sums.outputs, scale), sums.mass * scale};
      auto [at, is_new] = merged.try_emplace(key.second, part);
      if (is_new) continue;
      Sums& all = at->second;
      all = {plus(all.inputs, part.inputs), plus(all.outputs, part.outputs), all.mass + part.mass};
    }
    for (auto& [orientation, sums] : merged)
      sums.inputs = scaled(sums.inputs, sums.mass > 0 ? 1 / sums.mass : 0);
    Sums& own = merged.at(false);
    if (merged.contains(true)) {
      // (A_1 (x) G_1 + G_2 (x) A_2), by its partial traces: one of them over the total, 1 / tr G_1 of which
      // goes to the other.
      const Sums& other = merged.at(true);
      auto trace = [](const BlockDiagonal& B) { return B.trace().item<double>(); };
      double a = trace(own.inputs), g = trace(own.outputs), b = trace(other.inputs), h = trace(other.outputs);
      if (double total = a * g + b * h; total > 0) {
        BlockDiagonal inputs = plus(scaled(own.inputs, g), scaled(other.outputs, b));
        BlockDiagonal outputs = plus(scaled(own.outputs, a), scaled(other.inputs, h));
        double share = g + b;
        own.inputs = scaled(inputs, 1 / share);
        own.outputs = scaled(outputs, share / total);
      }
    }
    blocks.push_back({slot.name, slot.place, symmetric(own.outputs), symmetric(own.inputs)});
  }
  for (const auto& [offset, diagonal] : diagonals_) {
    Tensor sum;
    for (const auto& [term, part] : diagonal.sums) {
      Tensor scaled_part = part / denominators_.at(term);
      sum = sum.defined() ? sum + scaled_part : scaled_part;
    }
    MatrixPlace place{.offset = offset, .columns = sum.numel()};
    if (covers(place)) continue;
    blocks.push_back({diagonal.name, place, BlockDiagonal({at::ones({1, 1}, sum.options())}),
                      BlockDiagonal({sum.unsqueeze(0)})});
  }
  return blocks;
}

EigenvalueSums::EigenvalueSums(std::vector<EigenBlock> bases) : bases_(std::move(bases)) {
  for (size_t b = 0; b < bases_.size(); ++b) by_offset_[bases_[b].place.offset] = b;
  sums_.resize(bases_.size());
}

namespace {

// d [C, N, T, groups, rows] in G's basis, rows of T: [C, N, groups, T, rows].
Tensor rotated(const BlockDiagonal& Q, const Tensor& x) {
  return Q.right(x.movedim(-2, -3));
}

// With one position the square of d a' is that of d times that of a.
Tensor squares_of_one(const EigenBlock& basis, const UseSample& use, const Tensor& d) {
  Tensor D = basis.outputs.right(rows_of(d)).square_(), A = basis.inputs.right(rows_of(use.inputs)).square_();
  int64_t C = d.size(0);
  if (C > 1) D = D.unflatten(1, {C, -1}).sum(1);
  return D.mT().bmm(A);
}

// Sums over the positions of a word in an example, squared: [1, rows, vocabulary].
Tensor squares_of_embedding(const EigenBlock& basis, const UseSample& use, const Tensor& d) {
  int64_t C = d.size(0), N = d.size(1), vocabulary = use.place.columns;
  Tensor example = at::arange(C * N, use.inputs.options()).view({C, N, 1});
  Tensor word = (example * vocabulary + use.inputs).flatten();
  auto [words, at, counts] = at::_unique2(word, true, true);
  Tensor D = basis.outputs.right(rows_of(d))[0];
  Tensor sums = at::zeros({words.numel(), D.size(1)}, D.options()).index_add_(0, at, D).square_();
  Tensor result = at::zeros({vocabulary, D.size(1)}, D.options());
  return result.index_add_(0, words.remainder(vocabulary), sums).t().unsqueeze(0);
}

// One-hot rows of the words' indices: [N, T, 1, vocabulary].
Tensor one_hot(const UseSample& use, const at::TensorOptions& options) {
  Tensor rows = at::zeros({use.inputs.numel(), use.place.columns}, options);
  rows.scatter_(1, use.inputs.reshape({-1, 1}), 1);
  return rows.view({use.inputs.size(0), use.inputs.size(1), 1, use.place.columns});
}

// Each example's gradient in the bases, over all uses of the weight, a few examples at a time.
Tensor squares_of_many(const EigenBlock& basis,
                       const std::vector<std::pair<const UseSample*, Tensor>>& uses) {
  constexpr int64_t enough = int64_t{1} << 23;  // numbers at once
  int64_t C = uses[0].second.size(0), N = uses[0].second.size(1);
  int64_t at_once = std::max<int64_t>(1, enough / (C * basis.place.size()));
  Tensor result = at::zeros_like(basis.values);
  for (int64_t begin = 0; begin < N; begin += at_once) {
    int64_t count = std::min(at_once, N - begin);
    Tensor M;
    for (const auto& [use, d] : uses) {
      Tensor a = use->inputs.narrow(0, begin, count), part = d.narrow(1, begin, count);
      if (use->kind == LayerKind::embedding) {
        UseSample some = *use;
        some.inputs = a;
        a = one_hot(some, d.options());
      }
      bool opposed = use->place.transposed != basis.place.transposed;
      Tensor left = rotated(basis.outputs, opposed ? a : part);
      Tensor right = rotated(basis.inputs, opposed ? part : a);
      Tensor product = left.mT().matmul(right);  // [C, n, groups, rows, columns]
      M = M.defined() ? M.add_(product) : product;
    }
    result += M.square_().flatten(0, -4).sum(0);
  }
  return result;
}

Tensor squares_of_units(const EigenBlock& basis, const UseSample& use, const Tensor& d) {
  Tensor v = rows_of((d * use.inputs).sum(2));
  return basis.inputs.right(v).square_().sum(1, true);
}

}  // namespace

void EigenvalueSums::add(const LayerSample& sample) {
  denominators_[sample.term] += sample.denominator;
  std::map<size_t, std::vector<std::pair<const UseSample*, Tensor>>> uses;
  for (const UseSample& use : sample.uses)
    uses[by_offset_.at(use.place.offset)].emplace_back(&use, weighted(use.derivatives, sample.weights, 1));
  auto put = [&](size_t block, const Tensor& squares) {
    auto [at, is_new] = sums_[block].try_emplace(sample.term, at::zeros_like(bases_[block].values));
    at->second.add_(squares, sample.share);
  };
  for (const auto& [block, of] : uses) {
    const EigenBlock& basis = bases_[block];
    const auto& [use, d] = of[0];
    if (of.size() > 1)
      put(block, squares_of_many(basis, of));
    else if (use->kind == LayerKind::normalization)
      put(block, squares_of_units(basis, *use, d));
    else if (use->kind == LayerKind::embedding)
      put(block, squares_of_embedding(basis, *use, d));
    else if (use->positions() == 1)
      put(block, squares_of_one(basis, *use, d));
    else
      put(block, squares_of_many(basis, of));
  }
  for (const auto& diagonal : sample.diagonals) {
    auto at = by_offset_.find(diagonal.offset);
    bool diagonals_own = at != by_offset_.end() && !is_dense(bases_[at->second].outputs.blocks()[0]);
    if (diagonals_own) put(at->second, diagonal.values.view({1, 1, -1}));
  }
}

void EigenvalueSums::share(const Communicator& processes) {
  if (processes.alone()) return;
  std::vector<Tensor> tensors;
  HostNumbers numbers;
  for (auto& sums : sums_)
    for (auto& [term, sum] : sums) tensors.push_back(sum);
  for (auto& [term, denominator] : denominators_) numbers.add(denominator);
  tensors.push_back(numbers.tensor());
  all_reduce_sum(processes, tensors);
  numbers.put_back();
}

std::vector<EigenBlock> EigenvalueSums::blocks() const {
  std::vector<EigenBlock> blocks = bases_;
  for (size_t b = 0; b < blocks.size(); ++b) {
    Tensor values = at::zeros_like(blocks[b].values);
    for (const auto& [term, sum] : sums_[b]) values.add_(sum, 1 / denominators_.at(term));
    blocks[b].values = values;
  }
  return blocks;
}

}  // namespace osculant
