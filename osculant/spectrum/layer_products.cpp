#include "osculant/spectrum/layer_products.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>

#include "osculant/spectrum/norms.h"
#include "osculant/spectrum/statistics.h"

namespace osculant {
namespace {

constexpr int64_t kBlock = 8;

}  // namespace

LayerProducts::LayerProducts(const LinearOperator& A, const std::vector<LayerBlock>& blocks, uint64_t seed,
                             std::function<bool(int64_t products)> progress)
    : A_(A),
      blocks_(blocks),
      random_(seed, "block norms"),
      progress_(std::move(progress)),
      before_(A.products()) {}

Tensor LayerProducts::products(const Tensor& Z) {
  Tensor Y = A_.apply(Z);
  if (!Y.isfinite().all().item<bool>()) trouble_ = "a product was not finite";
  if (progress_ && !progress_(A_.products() - before_)) trouble_ = "the work was stopped early";
  return trouble_.empty() ? Y : Tensor();
}

Tensor LayerProducts::columns(const std::vector<int64_t>& positions) {
  Tensor E = A_.domain().zeros(static_cast<int64_t>(positions.size()));
  for (size_t i = 0; i < positions.size(); ++i) E.select(1, static_cast<int64_t>(i))[positions[i]] = 1;
  return products(E);
}

void LayerProducts::take(const Tensor& matrix) {
  if (!matrix.isfinite().all().item<bool>()) {
    trouble_ = "a product was not finite";
    return;
  }
  Tensor squares = matrix.square();
  for (int64_t b = 0; b < layers(); ++b) {
    Tensor columns = squares.narrow(1, blocks_[b].offset, blocks_[b].size);
    Seen seen{true, at::zeros({1, layers()}, at::kDouble), 0};
    for (int64_t a = 0; a < layers(); ++a) seen.squares[0][a] = rows(columns, a).sum();
    Tensor off = rows(columns, b).clone();
    off.fill_diagonal_(0);
    seen.off_diagonal = off.sum().item<double>();
    seen_.push_back(seen);
  }
  largest_diagonal_ = matrix.diagonal().abs().max().item<double>();
}

void LayerProducts::multiply(int64_t probes) {
  for (int64_t b = 0; b < layers() && trouble_.empty(); ++b)
    seen_.push_back(blocks_[b].size <= probes ? all_columns(b) : some_probes(b, probes));
}

Tensor LayerProducts::squares_by_layer(const Tensor& Y) const {
  std::vector<Tensor> parts;
  for (int64_t a = 0; a < layers(); ++a)
    parts.push_back(at::linalg_vector_norm(rows(Y, a), 2, {0}, false, at::kDouble).square());
  return at::stack(parts, 1).cpu();  // [k, layers]
}

LayerProducts::Seen LayerProducts::all_columns(int64_t b) {
  Seen seen{true, at::zeros({1, layers()}, at::kDouble), 0};
  for (int64_t begin = 0; begin < blocks_[b].size; begin += kBlock) {
    int64_t k = std::min(kBlock, blocks_[b].size - begin), row = blocks_[b].offset + begin;
    Tensor E = A_.domain().zeros(k);
    E.narrow(0, row, k).fill_diagonal_(1);
    Tensor Y = products(E);
    if (!Y.defined()) return seen;
    seen.squares += squares_by_layer(Y).sum(0, true);
    Tensor own = rows(Y, b).to(at::kDouble, /*non_blocking=*/false, /*copy=*/true),
           diagonal = own.narrow(0, begin, k).diagonal();
    largest_diagonal_ = std::max(largest_diagonal_, diagonal.abs().max().item<double>());
    diagonal.zero_();
    seen.off_diagonal += own.square().sum().item<double>();
  }
  return seen;
}

// The regression of (A z)_i on z_i over the probes comes from the sums of z^2, z A z and (A z)^2.
LayerProducts::Seen LayerProducts::some_probes(int64_t b, int64_t probes) {
  Seen seen;
  std::vector<Tensor> squares;
  at::TensorOptions numbers = A_.domain().options();
  Tensor zz = at::zeros({blocks_[b].size}, numbers.dtype(at::kDouble)), zy = at::zeros_like(zz),
         yy = at::zeros_like(zz);
  for (int64_t begin = 0; begin < probes; begin += kBlock) {
    int64_t k = std::min(kBlock, probes - begin);
    Tensor Z = A_.domain().zeros(k);
    rows(Z, b).copy_(random_.normal({k, blocks_[b].size}, numbers).t());
    Tensor Y = products(Z);
    if (!Y.defined()) return seen;
    Tensor z = rows(Z, b).to(at::kDouble), y = rows(Y, b).to(at::kDouble);
    zz += z.square().sum(1);
    zy += (z * y).sum(1);
    yy += y.square().sum(1);
    squares.push_back(squares_by_layer(Y));
  }
  seen.squares = at::cat(squares);
  Tensor slope = zy / zz;
  Tensor residual = (yy - slope * zy).clamp_min(0) / static_cast<double>(probes - 1);
  seen.off_diagonal = residual.sum().item<double>();
  add_candidates(slope.abs(), b);
  probes_ = probes;
  return seen;
}

void LayerProducts::add_candidates(const Tensor& magnitude, int64_t b) {
  auto [value, place] = magnitude.topk(std::min(diagonal_candidates, magnitude.numel()));
  value = value.cpu();
  place = place.cpu();
  for (int64_t i = 0; i < value.numel(); ++i)
    candidates_.emplace_back(value[i].item<double>(), blocks_[b].offset + place[i].item<int64_t>());
}

double LayerProducts::largest_diagonal() {
  std::sort(candidates_.rbegin(), candidates_.rend());
  std::vector<int64_t> positions;
  for (size_t i = 0; i < std::min<size_t>(diagonal_candidates, candidates_.size()); ++i)
    positions.push_back(candidates_[i].second);
  candidates_.clear();
  Tensor Y = positions.empty() ? Tensor() : columns(positions);
  for (size_t i = 0; Y.defined() && i < positions.size(); ++i)
    largest_diagonal_ = std::max(largest_diagonal_,
                                 std::abs(Y.select(1, static_cast<int64_t>(i))[positions[i]].item<double>()));
  return largest_diagonal_;
}

Measured LayerProducts::energy(const Wanted& wanted, double confidence) const {
  double known = 0;
  std::vector<RunningMoments> samples;
  for (int64_t b = 0; b < layers(); ++b) {
    Tensor mask = at::zeros({layers()}, at::kDouble);
    for (int64_t a = 0; a < layers(); ++a) mask[a] = wanted(a, b) ? 1.0 : 0.0;
    Tensor sums = seen_[b].squares.mv(mask);
    if (seen_[b].exact) {
      known += sums[0].item<double>();
      continue;
    }
    samples.emplace_back();
    for (int64_t i = 0; i < sums.numel(); ++i) samples.back().add(sums[i].item<double>());
  }
  Measured random = interval_of_sum(samples, confidence);
  return {known + random.value, known + random.low, known + random.high};
}

Measured LayerProducts::block(int64_t a, int64_t b, double confidence) const {
  if (seen_[b].exact || seen_[a].exact) {
    Tensor exact = seen_[b].exact ? seen_[b].squares[0][a] : seen_[a].squares[0][b];
    double square = exact.item<double>();
    return {square, square, square};
  }
  RunningMoments sample;
  auto add = [&](const Tensor& squares) {
    for (int64_t i = 0; i < squares.numel(); ++i) sample.add(squares[i].item<double>());
  };
  add(seen_[b].squares.select(1, a));
  if (a != b) add(seen_[a].squares.select(1, b));
  return interval_of_sum({sample}, confidence);
}

Measured LayerProducts::off_diagonal(double confidence) const {
  double known = 0, random = 0;
  for (const auto& seen : seen_) (seen.exact ? known : random) += seen.off_diagonal;
  if (random == 0) return {known, known, known};
  auto dof = static_cast<double>(probes_ - 1);
  return {known + random, known + random * dof / chi_square_quantile((1 + confidence) / 2, dof),
          known + random * dof / chi_square_quantile((1 - confidence) / 2, dof)};
}

}  // namespace osculant
