#include "osculant/spectrum/sparsity.h"

#include <fmt/format.h>
#include <torch/autograd.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "osculant/base/error.h"
#include "osculant/base/random.h"
#include "osculant/base/text.h"
#include "osculant/spectrum/layer_products.h"
#include "osculant/spectrum/norms.h"
#include "osculant/spectrum/statistics.h"

namespace osculant {
namespace {

constexpr int64_t kBlock = 8;
constexpr int64_t kFewestProbes = 4;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

int64_t columns_and_probes(const std::vector<LayerBlock>& blocks, int64_t probes) {
  int64_t products = 0;
  for (const auto& block : blocks) products += std::min(block.size, probes);
  return products;
}

// The most probes for each layer that the products allow.
int64_t probes_for(const std::vector<LayerBlock>& blocks, int64_t products) {
  int64_t largest = 0;
  for (const auto& block : blocks) largest = std::max(largest, block.size);
  int64_t low = kFewestProbes, high = std::max(largest, low) + 1;
  while (high - low > 1) {
    int64_t middle = (low + high) / 2;
    (columns_and_probes(blocks, middle) <= products ? low : high) = middle;
  }
  return low;
}

// out / (out + in), and its root, the ratio of norms.
Measured norm_ratio(const Measured& out, const Measured& in) {
  auto root = [](double a, double b) { return a > 0 ? std::sqrt(a / (a + b)) : 0; };
  return {root(out.value, in.value), root(out.low, in.high), root(out.high, in.low)};
}

class SparsityEstimate {
 public:
  SparsityEstimate(const LinearOperator& A, const std::vector<LayerBlock>& blocks,
                   const SparsityOptions& options, const EigenResult* pairs)
      : A_(A),
        blocks_(blocks),
        options_(options),
        pairs_(pairs),
        products_(A, blocks, options.seed, options.progress),
        n_(A.cols()),
        before_(A.products()) {
    result_.blocks = blocks;
    result_.size = n_;
    result_.name = A.name();
    result_.confidence = options.confidence;
    result_.tolerance = options.tolerance;
    result_.threshold = options.threshold;
  }

  SparsityResult run() {
    n_ <= options_.dense_limit ? by_matrix() : by_products();
    if (trouble().empty()) {
      measure_norms();
      decide();
    } else {
      say_unknown();
    }
    result_.products = A_.products() - before_;
    return std::move(result_);
  }

  std::vector<Measured> run_for_diagonal_blocks() {
    products_.multiply(probes_for(blocks_, options_.norm_products));
    std::vector<Measured> norms;
    for (int64_t b = 0; b < layers() && trouble().empty(); ++b) norms.push_back(norm_of_block(b, b));
    return norms;
  }

 private:
  const std::string& trouble() const { return products_.trouble(); }
  int64_t layers() const { return static_cast<int64_t>(result_.blocks.size()); }

  // ---- the matrix formed ----

  void by_matrix() {
    Tensor M = to_dense(A_).to(at::kCPU, at::kDouble);
    products_.take(M);
    if (!trouble().empty()) return;
    result_.exact = true;
    result_.how = fmt::format("the matrix was formed, {} products", format_count(n_));
    double spectral = at::linalg_eigvalsh((M + M.t()) / 2).abs().max().item<double>();
    set_scale({spectral, spectral, spectral});
    result_.largest_high = M.abs().max().item<double>();
    double share = M.abs().le(options_.threshold * result_.scale).to(at::kDouble).mean().item<double>();
    result_.negligible = {share, share, share};
    result_.columns = n_;
  }

  // ---- by products ----

  void by_products() {
    int64_t probes = probes_for(blocks_, options_.norm_products);
    products_.multiply(probes);
    if (trouble().empty()) find_scale();
    if (trouble().empty()) draw_columns();
    result_.how =
        fmt::format("{} products in each layer for the norms, {} random columns", probes, result_.columns);
  }

  void find_scale() {
    EigenResult found;
    bool given = pairs_ && (pairs_->target == EigenTarget::both || pairs_->target == EigenTarget::dominant);
    if (!given)
      found = eigenpairs(A_, {.count = 1,
                              .target = EigenTarget::dominant,
                              .tolerance = options_.miss_tolerance,
                              .seed = options_.seed});
    const EigenResult& pairs = given ? *pairs_ : found;
    result_.miss_probability = pairs.miss_probability();
    set_scale(spectral_norm(pairs));
  }

  // max abs(A_ij) is at least the largest diagonal entry and norm_2 / n, and at most norm_2.
  void set_scale(const Measured& spectral) {
    result_.scale = std::max(products_.largest_diagonal(), spectral.low / static_cast<double>(n_));
    result_.largest_high = std::max(spectral.high, result_.scale);
  }

  void draw_columns() {
    int64_t m = std::min(options_.columns, n_);
    Tensor order = RandomStream(options_.seed, "sparse columns").permutation(n_).narrow(0, 0, m);
    std::vector<double> shares;
    for (int64_t begin = 0; begin < m; begin += kBlock) {
      Tensor some = order.narrow(0, begin, std::min(kBlock, m - begin));
      Tensor Y = products_.columns({some.data_ptr<int64_t>(), some.data_ptr<int64_t>() + some.numel()});
      if (!Y.defined()) return;
      Tensor share = Y.abs().le(options_.threshold * result_.scale).to(at::kDouble).mean(0).cpu();
      for (int64_t i = 0; i < share.numel(); ++i) shares.push_back(share[i].item<double>());
    }
    RunningMoments moments;
    for (double share : shares) moments.add(share);
    auto [low, high] = m == n_ ? std::pair(moments.mean(), moments.mean())
                               : mean_of_bounded(shares, n_, options_.confidence);
    result_.negligible = {moments.mean(), low, high};
    result_.columns = m;
  }

  // ---- norms ----

  static Measured root(const Measured& square) {
    return {std::sqrt(square.value), std::sqrt(square.low), std::sqrt(square.high)};
  }

  Measured norm_of_block(int64_t a, int64_t b) const {
    return root(products_.block(a, b, options_.confidence));
  }

  // Products are rounded, and what is left out may be nothing but that.
  Measured rounded(const Measured& x) const {
    double rounding = result_.exact || x.high == 0 ? 0 : 10 * A_.domain().epsilon();
    return {x.value, std::max(0.0, x.low - rounding), std::min(1.0, x.high + rounding)};
  }

  void measure_norms() {
    result_.norms.resize(layers());
    for (int64_t a = 0; a < layers(); ++a)
      for (int64_t b = 0; b < layers(); ++b)
        result_.norms[a].push_back(b < a ? result_.norms[b][a] : norm_of_block(a, b));
    result_.frobenius = root(products_.energy([](int64_t, int64_t) { return true; }, options_.confidence));
    double half = (1 + options_.confidence) / 2;
    for (int64_t w = 0; w < layers(); ++w) {
      auto outside = [w](int64_t a, int64_t b) { return std::abs(a - b) > w; };
      auto inside = [w](int64_t a, int64_t b) { return std::abs(a - b) <= w; };
      result_.beyond.push_back(
          rounded(norm_ratio(products_.energy(outside, half), products_.energy(inside, half))));
    }
    measure_off_diagonal();
  }

  // Between the layers, and within each; relative to the whole. Each at a third of the failure.
  void measure_off_diagonal() {
    double third = 1 - (1 - options_.confidence) / 3;
    Measured between = products_.energy([](int64_t a, int64_t b) { return a != b; }, third),
             whole = products_.energy([](int64_t, int64_t) { return true; }, third),
             within = products_.off_diagonal(third);
    auto share = [](double off, double all) { return all > 0 ? std::sqrt(std::min(1.0, off / all)) : 0; };
    result_.off_diagonal =
        rounded({share(between.value + within.value, whole.value),
                 share(between.low + within.low, whole.high), share(between.high + within.high, whole.low)});
  }

  // ---- the structure ----

  std::string band_words(int64_t w) const {
    if (w >= layers() - 1) return "dense";
    return w == 0 ? "block diagonal" : fmt::format("a band of layers at most {} apart", w);
  }

  // The first width at which what is left out is small enough, by the low and by the high ends.
  void decide() {
    auto first = [&](auto end) {
      int64_t w = 0;
      while (w < layers() - 1 && !(end(result_.beyond[w]) <= options_.tolerance)) ++w;
      return w;
    };
    int64_t least = first([](const Measured&x) { return x.low; }),
            most = first([](const Measured&x) { return x.high; });
    const Measured& off = result_.off_diagonal;
    std::string limit = fmt::format("{} of norm_F may be left out", format_number(options_.tolerance));
    if (off.high <= options_.tolerance) {
      result_.structure = Structure::diagonal;
      result_.words = fmt::format("diagonal: {} of norm_F lies off the diagonal; {}", in_words(off), limit);
    } else if (off.low <= options_.tolerance || least != most) {
      result_.words = fmt::format(
          "unknown, from {} to {}: {} of norm_F lies off the diagonal, {} off its "
          "blocks; {}",
          off.low <= options_.tolerance ? "diagonal" : band_words(least), band_words(most), in_words(off),
          in_words(result_.beyond[0]), limit);
    } else {
      set_band(least, limit);
    }
  }

  void set_band(int64_t w, const std::string& limit) {
    result_.width = w;
    bool dense = w >= layers() - 1;
    result_.structure = dense ? Structure::dense : w == 0 ? Structure::block_diagonal : Structure::band;
    result_.words = band_words(w) + ": ";
    if (dense && layers() == 1)
      result_.words += fmt::format("{} of norm_F lies off the diagonal", in_words(result_.off_diagonal));
    else if (dense)
      result_.words += fmt::format("without the layers furthest apart {} of norm_F is left out",
                                   in_words(result_.beyond[w - 1]));
    else
      result_.words += fmt::format("{} of norm_F lies outside", in_words(result_.beyond[w]));
    result_.words += "; " + limit;
  }

  void say_unknown() {
    const Measured unknown{std::nan(""), 0, kInfinity};
    result_.norms.assign(layers(), std::vector<Measured>(layers(), unknown));
    result_.frobenius = unknown;
    result_.off_diagonal = {std::nan(""), 0, 1};
    result_.beyond.assign(layers(), result_.off_diagonal);
    result_.negligible = result_.off_diagonal;
    result_.scale = std::nan("");
    result_.largest_high = kInfinity;
    result_.miss_probability = 1;
    result_.words = "unknown: " + trouble();
    result_.how = trouble();
  }

  const LinearOperator& A_;
  const std::vector<LayerBlock>& blocks_;
  const SparsityOptions& options_;
  const EigenResult* pairs_;
  LayerProducts products_;
  int64_t n_, before_;
  SparsityResult result_;
};

void require_meant(const LinearOperator& A, const std::vector<LayerBlock>& blocks,
                   const SparsityOptions& options) {
  options.check();
  if (!A.symmetric()) fail_usage(fmt::format("sparsity: {} is not declared symmetric", A.name()));
  int64_t next = 0;
  for (const auto& block : blocks) {
    if (block.offset != next || block.size < 1)
      fail_usage(
          fmt::format("sparsity: block \"{}\" begins at {} with {} entries: must begin at {} and have "
                      "at least 1",
                      block.name, block.offset, block.size, next));
    next += block.size;
  }
  if (next != A.cols())
    fail_usage(
        fmt::format("sparsity: the blocks have {} entries: must be the {} of {}", next, A.cols(), A.name()));
}

void require_enough(const std::vector<LayerBlock>& blocks, const SparsityOptions& options) {
  require_at_least("norm_products", static_cast<double>(options.norm_products),
                   static_cast<double>(least_norm_products(blocks)));
}

}  // namespace

int64_t least_norm_products(const std::vector<LayerBlock>& blocks) {
  return columns_and_probes(blocks, kFewestProbes);
}

int64_t block_norm_products(const std::vector<LayerBlock>& blocks, const SparsityOptions& options) {
  return columns_and_probes(blocks, probes_for(blocks, options.norm_products));
}

int64_t sparsity_products(const std::vector<LayerBlock>& blocks, const SparsityOptions& options) {
  int64_t n = columns_and_probes(blocks, std::numeric_limits<int64_t>::max());
  if (n <= options.dense_limit) return n;
  int64_t norms = block_norm_products(blocks, options);
  return norms + (norms < n ? diagonal_candidates : 0) + std::min(options.columns, n);
}

std::vector<Measured> diagonal_block_norms(const LinearOperator& A, const std::vector<LayerBlock>& blocks,
                                           const SparsityOptions& options) {
  require_meant(A, blocks, options);
  require_enough(blocks, options);
  torch::NoGradGuard no_grad;
  return SparsityEstimate(A, blocks, options, nullptr).run_for_diagonal_blocks();
}

SparsityResult sparsity(const LinearOperator& A, const std::vector<LayerBlock>& blocks,
                        const SparsityOptions& options, const EigenResult* pairs) {
  require_meant(A, blocks, options);
  if (A.cols() > options.dense_limit) require_enough(blocks, options);
  torch::NoGradGuard no_grad;
  return SparsityEstimate(A, blocks, options, pairs).run();
}

}  // namespace osculant
