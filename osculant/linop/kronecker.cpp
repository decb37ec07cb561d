#include "osculant/linop/kronecker.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "osculant/base/error.h"
#include "osculant/linop/dealt_blocks.h"

namespace osculant {
namespace {

// The part of M at `offset`, a view of x: [..., groups, rows, columns].
Tensor stretch(const Tensor& x, int64_t offset, int64_t groups, int64_t rows, int64_t columns,
               bool transposed) {
  Tensor part = x.narrow(-1, offset, groups * rows * columns);
  if (transposed) return part.unflatten(-1, {groups, columns, rows}).mT();
  return part.unflatten(-1, {groups, rows, columns});
}

// Entries in no place, after a check that no two places share one.
template <class Block>
int64_t entries_elsewhere(int64_t n, const std::vector<Block>& blocks) {
  std::vector<std::pair<int64_t, int64_t>> stretches;  // begin, end
  int64_t inside = 0;
  for (const Block& block : blocks) {
    const MatrixPlace& p = block.place;
    int64_t apart = p.last_column ? p.groups * p.rows : 0;
    stretches.emplace_back(p.offset, p.offset + p.size() - apart);
    if (apart > 0) stretches.emplace_back(*p.last_column, *p.last_column + apart);
    inside += p.size();
    if (block.outputs.size() != p.rows || block.inputs.size() != p.columns)
      fail_usage(fmt::format("{}: factors of {} rows and {} columns for matrices [{}, {}]", block.name,
                             block.outputs.size(), block.inputs.size(), p.rows, p.columns));
  }
  std::sort(stretches.begin(), stretches.end());
  for (size_t i = 0; i < stretches.size(); ++i)
    if (stretches[i].second > (i + 1 < stretches.size() ? stretches[i + 1].first : n))
      fail_usage("kronecker: two places overlap, or one exceeds the vector");
  return n - inside;
}

// f(block, M) at each block's place of the columns of X, and `elsewhere` times what lies in none.
template <class Block, class Function>
Tensor at_places(const Tensor& X, const std::vector<Block>& blocks, double elsewhere, int64_t others,
                 Function f) {
  Tensor x = X.t().contiguous();
  Tensor y = others == 0 ? at::empty(x.sizes(), x.options()) : elsewhere * x;
  for (const Block& block : blocks) block.place.put(f(block, block.place.of(x)), y);
  return y.t();
}

}  // namespace

Tensor MatrixPlace::of(const Tensor& x) const {
  if (!last_column) return stretch(x, offset, groups, rows, columns, transposed);
  return at::cat({stretch(x, offset, groups, rows, columns - 1, transposed),
                  stretch(x, *last_column, groups, rows, 1, false)},
                 -1);
}

void MatrixPlace::put(const Tensor& M, Tensor& x) const {
  int64_t inside = columns - (last_column ? 1 : 0);
  stretch(x, offset, groups, rows, inside, transposed).copy_(M.narrow(-1, 0, inside));
  if (last_column) stretch(x, *last_column, groups, rows, 1, false).copy_(M.narrow(-1, inside, 1));
}

KroneckerOperator::KroneckerOperator(const VectorSpace& space, std::vector<KroneckerBlock> blocks,
                                     double elsewhere, std::string name)
    : LinearOperator(space, space, std::move(name)),
      blocks_(std::move(blocks)),
      elsewhere_(elsewhere),
      others_(entries_elsewhere(space.size(), blocks_)) {}

Tensor KroneckerOperator::apply_block(const Tensor& X) const {
  return at_places(X, blocks_, elsewhere_, others_, [](const KroneckerBlock& block, const Tensor& M) {
    return block.inputs.right(block.outputs.left(M));
  });
}

// tr(A (x) G) = tr A tr G
double KroneckerOperator::trace() const {
  double sum = elsewhere_ * static_cast<double>(others_);
  for (const auto& block : blocks_) sum += block.inputs.trace().dot(block.outputs.trace()).item<double>();
  return sum;
}

double KroneckerOperator::norm() const {
  double sum = elsewhere_ * elsewhere_ * static_cast<double>(others_);
  for (const auto& block : blocks_)
    sum += block.inputs.squared_norm().dot(block.outputs.squared_norm()).item<double>();
  return std::sqrt(sum);
}

std::optional<KroneckerBlock> factored_inverse(const KroneckerBlock& block, double lambda) {
  Tensor a = block.inputs.trace() / static_cast<double>(block.place.columns);
  Tensor g = block.outputs.trace() / static_cast<double>(block.place.rows);
  Tensor pi = at::where((a > 0).logical_and(g > 0), (a / g).sqrt(), at::ones_like(a));
  double root = std::sqrt(lambda);
  auto inputs = shifted_inverse(block.inputs, pi * root);
  if (!inputs) return std::nullopt;
  auto outputs = shifted_inverse(block.outputs, root / pi);
  if (!outputs) return std::nullopt;
  return KroneckerBlock{block.name, block.place, *std::move(outputs), *std::move(inputs)};
}

std::shared_ptr<KroneckerOperator> factored_inverse(const KroneckerOperator& F, double lambda) {
  require_positive("lambda", lambda);
  std::vector<KroneckerBlock> blocks;
  for (const auto& block : F.blocks()) {
    auto inverse = factored_inverse(block, lambda);
    if (!inverse) return nullptr;
    blocks.push_back(*std::move(inverse));
  }
  return std::make_shared<KroneckerOperator>(F.domain(), std::move(blocks), 1 / lambda,
                                             F.name() + "_inverse");
}

namespace {

// values[i, j] = g_i a_j
Tensor products(const Tensor& g, const Tensor& a) {
  return (g.unsqueeze(2) * a.unsqueeze(1)).clamp_min_(0);
}

}  // namespace

std::optional<EigenBlock> eigen_block(const KroneckerBlock& block) {
  auto G = block_eigenpairs(block.outputs);
  if (!G) return std::nullopt;
  auto A = block_eigenpairs(block.inputs);
  if (!A) return std::nullopt;
  Tensor values = products(G->values, A->values);
  return EigenBlock{block.name, block.place, std::move(G->vectors), std::move(A->vectors), values};
}

std::optional<EigenBlock> refreshed(const EigenBlock& last, const KroneckerBlock& block) {
  auto G = refresh_eigenpairs(block.outputs, last.outputs);
  if (!G) return std::nullopt;
  auto A = refresh_eigenpairs(block.inputs, last.inputs);
  if (!A) return std::nullopt;
  Tensor values = last.values.gather(1, G->order.unsqueeze(2).expand_as(last.values));
  values = values.gather(2, A->order.unsqueeze(1).expand_as(values));
  return EigenBlock{block.name, block.place, std::move(G->vectors), std::move(A->vectors), values};
}

double decomposition_cost(const KroneckerBlock& block) {
  double cubes = 0;
  for (const auto* side : {&block.outputs, &block.inputs})
    for (const auto& B : side->blocks())
      if (is_dense(B)) cubes += static_cast<double>(B.size(0)) * std::pow(static_cast<double>(B.size(1)), 3);
  return cubes;
}

std::vector<Tensor> matrices_of(const KroneckerBlock& block) {
  std::vector<Tensor> matrices = block.outputs.blocks();
  matrices.insert(matrices.end(), block.inputs.blocks().begin(), block.inputs.blocks().end());
  return matrices;
}

KroneckerBlock with_matrices(const KroneckerBlock& like, const std::vector<Tensor>& matrices) {
  auto middle = matrices.begin() + static_cast<int64_t>(like.outputs.blocks().size());
  auto end = middle + static_cast<int64_t>(like.inputs.blocks().size());
  return {like.name, like.place, BlockDiagonal({matrices.begin(), middle}), BlockDiagonal({middle, end})};
}

namespace {

// Eigenvectors and values of each block by `work`, where that is one process's.
template <class Work>
std::optional<std::vector<EigenBlock>> dealt_eigen_blocks(const std::vector<KroneckerBlock>& blocks,
                                                          const Communicator& processes, Work work) {
  DealtWork all;
  for (const auto& block : blocks) all.costs.push_back(decomposition_cost(block));
  all.like = [&](size_t b) {
    auto like = matrices_of(blocks[b]);
    const MatrixPlace& place = blocks[b].place;
    like.push_back(like[0].new_empty({1}).expand({place.groups, place.rows, place.columns}));
    return like;
  };
  all.work = [&](size_t b) -> std::optional<std::vector<Tensor>> {
    std::optional<EigenBlock> found = work(b);
    if (!found) return std::nullopt;
    auto tensors = matrices_of({found->name, found->place, found->outputs, found->inputs});
    tensors.push_back(found->values);
    return tensors;
  };
  auto found = deal(all, processes);
  if (!found) return std::nullopt;
  std::vector<EigenBlock> eigen;
  for (size_t b = 0; b < blocks.size(); ++b) {
    KroneckerBlock bases = with_matrices(blocks[b], (*found)[b]);
    eigen.push_back({bases.name, bases.place, bases.outputs, bases.inputs, (*found)[b].back()});
  }
  return eigen;
}

}  // namespace

std::optional<std::vector<EigenBlock>> eigen_blocks(const std::vector<KroneckerBlock>& blocks,
                                                    const Communicator& processes) {
  return dealt_eigen_blocks(blocks, processes, [&](size_t b) { return eigen_block(blocks[b]); });
}

std::optional<std::vector<EigenBlock>> refreshed(const std::vector<EigenBlock>& last,
                                                 const std::vector<KroneckerBlock>& blocks,
                                                 const Communicator& processes) {
  if (last.size() != blocks.size()) fail_usage("kronecker: eigenbases of another model");
  return dealt_eigen_blocks(blocks, processes, [&](size_t b) { return refreshed(last[b], blocks[b]); });
}

KroneckerEigen::KroneckerEigen(const VectorSpace& space, std::vector<EigenBlock> blocks, double elsewhere,
                               std::string name)
    : LinearOperator(space, space, std::move(name)),
      blocks_(std::move(blocks)),
      elsewhere_(elsewhere),
      others_(entries_elsewhere(space.size(), blocks_)) {}

Tensor KroneckerEigen::apply_block(const Tensor& X) const {
  return at_places(X, blocks_, elsewhere_, others_, [](const EigenBlock& block, const Tensor& M) {
    return block.out_of_bases(block.into_bases(M).mul_(block.values));
  });
}

double KroneckerEigen::sum(const std::function<Tensor(const Tensor&)>& f) const {
  auto total = [&](const Tensor& values) { return f(values.to(at::kDouble)).sum().item<double>(); };
  double sum = static_cast<double>(others_) * total(at::full({1}, elsewhere_, at::kDouble));
  for (const auto& block : blocks_) sum += total(block.values);
  return sum;
}

double KroneckerEigen::trace() const {
  return sum([](const Tensor& l) { return l; });
}

double KroneckerEigen::norm() const {
  return std::sqrt(sum([](const Tensor& l) { return l.square(); }));
}

double KroneckerEigen::log_determinant(double lambda) const {
  return sum([lambda](const Tensor& l) { return (l + lambda).log(); });
}

std::shared_ptr<KroneckerEigen> KroneckerEigen::function(
    const std::function<Tensor(const Tensor&)>& f) const {
  std::vector<EigenBlock> blocks = blocks_;
  for (auto& block : blocks) block.values = f(block.values);
  double elsewhere = f(at::full({1}, elsewhere_, at::kDouble)).item<double>();
  return std::make_shared<KroneckerEigen>(domain(), std::move(blocks), elsewhere, name() + "_function");
}

std::shared_ptr<KroneckerEigen> KroneckerEigen::inverse(double lambda) const {
  require_positive("lambda", lambda);
  return function([lambda](const Tensor& l) { return (l + lambda).reciprocal(); });
}

std::shared_ptr<KroneckerEigen> KroneckerEigen::inverse_root(double lambda) const {
  require_positive("lambda", lambda);
  return function([lambda](const Tensor& l) { return (l + lambda).rsqrt(); });
}

std::shared_ptr<KroneckerEigen> eigen_decomposition(const KroneckerOperator& F,
                                                    const Communicator& processes) {
  auto blocks = eigen_blocks(F.blocks(), processes);
  if (!blocks) return nullptr;
  return std::make_shared<KroneckerEigen>(F.domain(), *std::move(blocks), 0.0, F.name() + "_eigen");
}

}  // namespace osculant
