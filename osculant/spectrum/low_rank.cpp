#include "osculant/spectrum/low_rank.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "osculant/base/error.h"
#include "osculant/base/memory.h"
#include "osculant/base/text.h"
#include "osculant/linop/orthonormalize.h"
#include "osculant/spectrum/eigenpairs.h"
#include "osculant/spectrum/low_rank_error.h"
#include "osculant/spectrum/pivoted_qr.h"
#include "osculant/spectrum/ritz.h"

namespace osculant {
namespace {

double squares(const Tensor& values) {
  return values.square().sum().item<double>();
}

Tensor first_of(const Tensor& values, const std::vector<int64_t>& index) {
  return values.index_select(0, at::tensor(index, at::kLong));
}

// Eigenvalues of a small symmetric matrix by falling magnitude, and their eigenvectors.
std::pair<Tensor, Tensor> dominant_first(const Tensor& M) {
  auto [values, vectors] = at::linalg_eigh((M + M.t()) / 2);
  auto index = wanted_indices(EigenTarget::dominant, to_vector(values), values.numel());
  return {first_of(values, index), columns_of(vectors, index)};
}

class Factorizer {
 public:
  Factorizer(const LinearOperator& A, const LowRankOptions& options)
      : A_(A),
        space_(A.domain()),
        options_(options),
        random_(options.seed, "low rank"),
        error_random_(options.seed, "low rank error"),
        n_(A.cols()),
        count_(std::min(options.count, A.cols())),
        before_(A.products()) {
    result_.method = options.method;
    result_.confidence = options.confidence;
    result_.size = n_;
  }

  LowRank run() {
    switch (options_.method) {
      case LowRankMethod::svd:
      case LowRankMethod::qr:
        by_matrix();
        break;
      case LowRankMethod::randomized_svd:
        by_range();
        break;
      case LowRankMethod::randomized_qr:
        by_blocks();
        break;
      case LowRankMethod::nystrom:
        by_nystrom();
        break;
      case LowRankMethod::indefinite_nystrom:
        by_indefinite_nystrom();
        break;
      case LowRankMethod::lanczos:
        by_lanczos();
        break;
    }
    if (!finite_) give_up(LowRankStop::non_finite, "a product was not finite");
    result_.products = A_.products() - before_;
    return std::move(result_);
  }

 private:
  int64_t sketch_size() const { return std::min(n_, count_ + options_.oversampling); }

  Tensor normal(int64_t columns) { return space_.normal(random_, columns); }

  // A X. Where it is not finite, zero, which every method below bears, and run() says so.
  Tensor products(const Tensor& X) {
    Tensor AX = apply_by_blocks(A_, X);
    if (space_.all_finite(AX)) return AX;
    finite_ = false;
    return AX.zero_();
  }

  void give_up(LowRankStop stop, std::string message) {
    result_.vectors = space_.zeros(0);
    result_.values = at::zeros({0}, at::kDouble);
    result_.stop = stop;
    result_.message = std::move(message);
    set_error({0, 0, std::numeric_limits<double>::infinity(), false});
  }

  void set_error(const MeasuredNorm& norm) {
    result_.error = norm.value;
    result_.error_low = norm.low;
    result_.error_high = norm.high;
    result_.error_exact = norm.exact;
  }

  // Q diag(values) Q' cut to `rank`; values by falling magnitude.
  void publish(const Tensor& Q, const Tensor& values, int64_t rank, std::string message) {
    rank = std::min(rank, values.numel());
    result_.vectors = Q.narrow(1, 0, rank);
    result_.values = values.narrow(0, 0, rank).clone();
    result_.message = std::move(message);
  }

  // The fewest leading values such that what is left is within the tolerance: left, besides the values
  // dropped, and the whole are squared norms.
  int64_t rank_within_tolerance(const Tensor& values, double left, double whole) {
    auto value = to_vector(values);
    int64_t most = std::min<int64_t>(count_, values.numel());
    if (options_.tolerance == 0) return most;
    double allowed = options_.tolerance * options_.tolerance * whole;
    int64_t k = values.numel();
    for (; k > 0 && left + value[k - 1] * value[k - 1] <= allowed; --k) left += value[k - 1] * value[k - 1];
    bool reached = left <= allowed && k <= most;
    if (!reached) result_.stop = LowRankStop::rank;
    return reached ? k : most;
  }

  std::string words_of_tolerance() const {
    if (options_.tolerance == 0) return fmt::format("the rank asked for, {}", options_.count);
    if (result_.stop == LowRankStop::rank)
      return fmt::format("an error of {} norm_F(A) needs a rank above {}", options_.tolerance, count_);
    return fmt::format("the rank for an error of {} norm_F(A)", options_.tolerance);
  }

  // ---- by the matrix ----

  void by_matrix() {
    require_memory();
    Tensor M = to_dense(A_).to(at::kCPU, at::kDouble);
    finite_ = M.isfinite().all().item<bool>();
    if (!finite_) return;
    Tensor S = (M + M.t()) / 2;
    double whole = S.norm().item<double>();
    auto [Q, C, left] = options_.method == LowRankMethod::svd ? whole_space(S) : pivoted_space(S);
    auto [values, U] = dominant_first(C);
    int64_t rank = rank_within_tolerance(values, left, whole * whole);
    Tensor V = (Q.defined() ? Q.mm(U) : U).narrow(1, 0, rank).t().contiguous().to(space_.options()).t();
    publish(space_.rows_of(V), values, rank, words_of_tolerance());
    Tensor exactly = V.to(at::kCPU, at::kDouble);
    double known = (S - (exactly * result_.values).mm(exactly.t())).square().sum().item<double>();
    set_error(measure_remainder(space_, {known}, 0, options_.confidence,
                                rounding(whole) + (M - S).norm().item<double>(), error_random_));
  }

  // A basis (none: all), the matrix on it, and norm_F(S - Q C Q')^2.
  struct Projection {
    Tensor Q, C;
    double left = 0;
  };
  static Projection whole_space(const Tensor& S) { return {{}, S, 0}; }

  // norm_F(S - Q Q'S Q Q')^2 = norm_F(S - Q Q'S)^2 + norm_F(Q'S (I - Q Q'))^2 is at most twice its first
  // term.
  Projection pivoted_space(const Tensor& S) const {
    Tensor Q = pivoted_qr(S, count_, options_.tolerance / std::sqrt(2)).Q;
    Tensor C = Q.t().mm(S).mm(Q);
    return {Q, C, (S - Q.mm(C).mm(Q.t())).square().sum().item<double>()};
  }

  void require_memory() const {
    double bytes = 5.0 * sizeof(double) * static_cast<double>(n_) * static_cast<double>(n_);
    if (bytes > static_cast<double>(available_memory()))
      fail(ErrorKind::memory,
           fmt::format("low_rank: method {} forms the matrix, of n = {}: about {}, and {} are free",
                       to_string(options_.method), format_count(n_),
                       format_bytes(static_cast<int64_t>(bytes)), format_bytes(available_memory())));
  }

  // ---- by a basis of the range ----

  void by_range() {
    Tensor Q = orthonormalize(space_, products(normal(sketch_size()))).Q;
    for (int64_t pass = 0; pass < options_.power_passes; ++pass) Q = orthonormalize(space_, products(Q)).Q;
    project(Q, products(Q), 0);
  }

  Tensor outside(const Tensor& Q, const Tensor& X) const { return X - Q.mm(space_.coefficients(Q, X)); }

  // The range block by block. A Omega - Q B Omega, B = Q'A, is the sketch of the next block, and the mean of
  // its columns' squared norms is norm_F(A - Q B)^2, since Omega is independent of Q. (The indicator
  // norm_F(A)^2 - norm_F(B)^2 of Yu, Gu & Li 2018 needs a norm that products do not give.)
  void by_blocks() {
    Tensor Q = space_.zeros(0), AQ = space_.zeros(0);
    double left = 0;
    int64_t most = sketch_size();
    bool by_error = options_.tolerance > 0;  // then the last block's error is looked at too
    while (Q.size(1) < (by_error ? n_ : most)) {
      bool last = Q.size(1) >= most;
      int64_t b = std::min(options_.block, (last ? n_ : most) - Q.size(1));
      Tensor Y = outside(Q, products(normal(b)));
      left = frobenius_squared(space_, Y) / static_cast<double>(b);
      if (last || within_tolerance(Q, AQ, left)) break;
      Tensor block = next_block(Q, Y);
      left = 0;
      if (block.size(1) == 0) break;
      Q = joined(Q, block);
      AQ = joined(AQ, products(block));
    }
    project(Q, AQ, left);
  }

  static Tensor joined(const Tensor& X, const Tensor& Y) { return at::cat({X.t(), Y.t()}).t(); }

  // An orthonormal block orthogonal to Q from its sketch, after the power passes.
  Tensor next_block(const Tensor& Q, const Tensor& Y) {
    auto orthogonal = [&](const Tensor& X) {
      return orthonormalize(space_, outside(Q, orthonormalize(space_, outside(Q, X)).Q)).Q;
    };
    Tensor block = orthogonal(Y);
    for (int64_t pass = 0; pass < options_.power_passes; ++pass) block = orthogonal(products(block));
    return block;
  }

  // With left = norm_F(A - Q Q'A)^2: norm_F(A)^2 = norm_F(A Q)^2 + left, and Q Q'A Q Q' leaves that and
  // norm_F((I - QQ')A Q)^2.
  bool within_tolerance(const Tensor& Q, const Tensor& AQ, double left) const {
    double whole = frobenius_squared(space_, AQ) + left,
           tolerance = std::max(options_.tolerance, rounding(1));
    return left + frobenius_squared(space_, outside(Q, AQ)) <= tolerance * tolerance * whole;
  }

  // Rayleigh-Ritz on the span of Q, P = I - Q Q':
  //
  //   norm_F(A - V diag(values) V')^2 = sum of dropped values^2 + 2 norm_F(P A Q)^2 + norm_F(P A P)^2,
  //
  // the last by probes. `left`, an estimate of norm_F(P A)^2, only chooses the rank.
  void project(const Tensor& Q, const Tensor& AQ, double left) {
    Tensor T = space_.gram(Q, AQ);
    auto [values, U] = dominant_first(T);
    double coupling = frobenius_squared(space_, AQ - combine_columns(Q, T)), kept = squares(values);
    int64_t rank = rank_within_tolerance(values, left + coupling, kept + coupling + left);
    publish(combine_columns(Q, U.narrow(1, 0, rank)), values, rank, words_of_tolerance());
    Remainder remainder{2 * coupling + kept - squares(result_.values), {}};
    if (Q.size(1) < n_) remainder.rest = [&](const Tensor& Z) { return outside(Q, products(outside(Q, Z))); };
    measure(remainder);
  }

  void measure(const Remainder& remainder) {
    if (!finite_) return;
    double size = std::sqrt(squares(result_.values) + remainder.known);
    set_error(measure_remainder(space_, remainder, options_.error_probes, options_.confidence, rounding(size),
                                error_random_));
  }

  // Of products and of V, relative to norm_F(A).
  double rounding(double norm) const { return 10 * space_.epsilon() * norm; }

  // ---- Nystrom ----

  // A Omega (Omega'A Omega)^-1 (A Omega)' of A + nu I, and nu off again; nu is the rounding of A Omega.
  void by_nystrom() {
    if (!A_.positive_semidefinite() && options_.negative_products > 0 && negative_detected()) return;
    Tensor Omega = orthonormalize(space_, normal(sketch_size())).Q, Y = products(Omega);
    double nu = std::sqrt(static_cast<double>(n_) * frobenius_squared(space_, Y)) * space_.epsilon();
    Y = Y + nu * Omega;
    Tensor B = space_.gram(Omega, Y);
    auto [L, info] = at::linalg_cholesky_ex((B + B.t()) / 2);
    if (nu > 0 && info.item<int>() != 0)
      return give_up(LowRankStop::indefinite,
                     "a negative eigenvalue was detected: the projected matrix has no Cholesky factor");
    if (nu == 0) return publish_outer(space_.zeros(0), at::zeros({0}, at::kDouble));
    auto [Q, R, rank] = orthonormalize(space_, combine_columns(Y, at::linalg_inv(L).t()));
    auto [U, s, Vh] = at::linalg_svd(R, /*full_matrices=*/false);
    publish_outer(combine_columns(Q, U), (s.square() - nu).clamp_min(0));
  }

  // A Ritz value is never below the smallest eigenvalue: where it is negative, so is that.
  bool negative_detected() {
    auto lowest = eigenpairs(A_, {.count = 1,
                                  .target = EigenTarget::smallest,
                                  .tolerance = options_.negative_tolerance,
                                  .max_products = options_.negative_products,
                                  .krylov_dimension = std::max<int64_t>(options_.negative_products, 5),
                                  .seed = options_.seed,
                                  .verify = false,
                                  .check_products = 0});
    if (lowest.stop == EigenStop::non_finite) finite_ = false;
    if (lowest.values.numel() == 0) return false;
    double value = lowest.values[0].item<double>(), limit = -options_.negative_tolerance * lowest.scale;
    if (!(value < limit)) return false;
    give_up(LowRankStop::indefinite,
            fmt::format("a negative eigenvalue was detected: at most {} < -{} * {}", format_number(value),
                        options_.negative_tolerance, format_number(lowest.scale)));
    return true;
  }

  // With W = Omega'A Omega cut to its k largest eigenvalues W_k: A Omega W_k^-1 (A Omega)'.
  void by_indefinite_nystrom() {
    int64_t m = std::min(n_, std::max(sketch_size(), (3 * count_ + 1) / 2));
    Tensor Omega = orthonormalize(space_, normal(m)).Q, Y = products(Omega);
    auto [w, U] = dominant_first(space_.gram(Omega, Y));
    double cut = std::sqrt(static_cast<double>(n_)) * space_.epsilon() * w.abs().max().item<double>();
    int64_t rank = std::min(count_, w.abs().gt(cut).sum().item<int64_t>());
    auto [Q, R, independent] = orthonormalize(space_, combine_columns(Y, U.narrow(1, 0, rank)));
    auto [values, turn] = dominant_first((R / w.narrow(0, 0, rank)).mm(R.t()));
    publish_outer(combine_columns(Q, turn), values);
  }

  // Of Nystrom's remainder nothing is known before the probes.
  void publish_outer(const Tensor& Q, const Tensor& values) {
    publish(Q, values, count_, words_of_tolerance());
    Tensor V = result_.vectors, scaled = result_.values.to(space_.options()).unsqueeze(1);
    measure({0, [this, V, scaled](const Tensor& Z) {
               return products(Z) - V.mm(scaled * space_.coefficients(V, Z));
             }});
  }

  // ---- Lanczos ----

  void by_lanczos() {
    auto pairs = eigenpairs(A_, {.count = count_,
                                 .target = EigenTarget::dominant,
                                 .tolerance = options_.lanczos_tolerance,
                                 .seed = options_.seed});
    finite_ = pairs.stop != EigenStop::non_finite;
    publish(pairs.vectors, pairs.values, count_, pairs.message);
    Tensor Q = result_.vectors;
    Remainder remainder{2 * squares(pairs.residuals - pairs.noise), {}};
    if (Q.size(1) < n_) remainder.rest = [&](const Tensor& Z) { return outside(Q, products(outside(Q, Z))); };
    measure(remainder);
  }

  const LinearOperator& A_;
  const VectorSpace space_;
  const LowRankOptions& options_;
  RandomStream random_, error_random_;
  LowRank result_;
  int64_t n_, count_, before_;
  bool finite_ = true;
};

}  // namespace

LowRank low_rank(const LinearOperator& A, const LowRankOptions& options) {
  options.check();
  if (!A.symmetric()) fail_usage(fmt::format("low_rank: {} is not declared symmetric", A.name()));
  at::NoGradGuard no_grad;
  return Factorizer(A, options).run();
}

}  // namespace osculant
