#include "osculant/spectrum/low_rank_curve.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "osculant/base/error.h"
#include "osculant/base/random.h"
#include "osculant/base/text.h"
#include "osculant/linop/operators.h"
#include "osculant/spectrum/low_rank_error.h"
#include "osculant/spectrum/norms.h"
#include "osculant/spectrum/ritz.h"

namespace osculant {
namespace {

bool projects(LowRankMethod method) {
  return method != LowRankMethod::nystrom && method != LowRankMethod::indefinite_nystrom;
}

bool needs_matrix(LowRankMethod method) {
  return method == LowRankMethod::svd || method == LowRankMethod::qr;
}

double root_ratio(double part, double whole) {
  return whole > 0 ? std::sqrt(part / whole) : 0;
}

class CurveEstimate {
 public:
  CurveEstimate(const LinearOperator& A, const LowRankCurveOptions& options, const EigenResult* pairs)
      : A_(A), options_(options), pairs_(pairs), n_(A.cols()), before_(A.products()) {
    result_.size = n_;
    result_.name = A.name();
    result_.wanted = options.wanted;
    result_.confidence = options.confidence;
  }

  LowRankCurves run() {
    draw();
    for (LowRankMethod method : options_.methods) result_.curves.push_back(curve(method));
    choose_norm();
    for (size_t i = 0; i < factors_.size(); ++i) {
      LowRankCurve& curve = result_.curves[i];
      if (factors_[i].values.defined()) measure(factors_[i], curve);
      find_rank(curve);
    }
    result_.products = A_.products() - before_;
    return std::move(result_);
  }

 private:
  struct Factors {
    Tensor vectors, values;
    bool projected = false;
    Measured rest;  // norm_F(A - A_K)^2, where projected
    double kept = 0;
  };

  // Z and A Z: all unit vectors where the matrix is formed, so that sums over columns are exact.
  void draw() {
    result_.exact = n_ <= options_.dense_limit;
    if (result_.exact) {
      Tensor M = to_dense(A_).to(at::kCPU, at::kDouble);
      AZ_ = (M + M.t()) / 2;
      Z_ = at::eye(n_, at::kDouble);
      formed_ = dense_operator(AZ_, /*symmetric=*/true, A_.positive_semidefinite());
      result_.how = fmt::format("the matrix was formed, {} products", format_count(n_));
    } else {
      RandomStream random(options_.seed, "low rank curve");
      Z_ = A_.domain().normal(random, options_.probes);
      AZ_ = apply_by_blocks(A_, Z_);
      result_.how = fmt::format("{} probes in common", options_.probes);
    }
    finite_ = space().all_finite(AZ_);
  }

  const LinearOperator& source() const { return formed_ ? *formed_ : A_; }
  const VectorSpace& space() const { return source().domain(); }

  LowRankCurve curve(LowRankMethod method) {
    LowRankCurve curve{.method = method, .error = {}, .note = reason_against(method)};
    factors_.emplace_back();
    if (!curve.note.empty()) return curve;
    if (options_.progress && !options_.progress(A_.products() - before_)) stopped_ = true;
    if (stopped_) {
      curve.note = "the work was stopped early";
      return curve;
    }
    int64_t before = A_.products();
    factors_.back() = method == LowRankMethod::lanczos && !formed_ ? from_pairs() : factorize(method, curve);
    curve.products = A_.products() - before;
    return curve;
  }

  std::string reason_against(LowRankMethod method) const {
    if (!finite_) return "a product was not finite";
    if (needs_matrix(method) && !formed_)
      return fmt::format("the matrix is formed up to n = {}", format_count(options_.dense_limit));
    if (method == LowRankMethod::nystrom && !A_.positive_semidefinite())
      return "not known to be positive semidefinite";
    bool none = !pairs_ || pairs_->values.numel() == 0;
    if (method == LowRankMethod::lanczos && !formed_ && none) return "no eigenpairs were found before";
    return "";
  }

  Factors factorize(LowRankMethod method, LowRankCurve& curve) {
    LowRank found = low_rank(source(), {.method = method,
                                        .count = options_.count,
                                        .oversampling = options_.oversampling,
                                        .power_passes = options_.power_passes,
                                        .negative_products = 0,
                                        .error_probes = 0,
                                        .seed = options_.seed});
    if (found.stop != LowRankStop::done) {
      curve.note = found.message;
      return {};
    }
    return {found.vectors, found.values, projects(method), {}, 0};
  }

  // By falling magnitude; a pair may be in both halves of `both`.
  Factors from_pairs() const {
    auto value = to_vector(pairs_->values);
    std::vector<int64_t> order(value.size()), kept;
    for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int64_t>(i);
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t i, int64_t j) { return std::abs(value[i]) > std::abs(value[j]); });
    Tensor gram = A_.domain().gram(pairs_->vectors, pairs_->vectors);
    for (int64_t i : order) {
      bool seen = std::any_of(kept.begin(), kept.end(),
                              [&](int64_t j) { return std::abs(gram[i][j].item<double>()) > 0.5; });
      if (!seen && static_cast<int64_t>(kept.size()) < options_.count) kept.push_back(i);
    }
    return {columns_of(pairs_->vectors, kept),
            pairs_->values.index_select(0, at::tensor(kept, at::kLong)),
            true,
            {},
            0};
  }

  // The squared norm of E from E Z.
  Measured squared_norm(const Tensor& EZ, double confidence) const {
    const VectorSpace& space = this->space();
    if (result_.exact) {
      double square = frobenius_squared(space, EZ);
      return {square, square, square};
    }
    RunningMoments squares;
    for (int64_t i = 0; i < EZ.size(1); ++i) squares.add(space.dot(EZ.select(1, i), EZ.select(1, i)));
    return interval_of_sum({squares}, confidence);
  }

  double half() const { return (1 + options_.confidence) / 2; }

  Measured rest_of(const Factors& factors, double confidence) const {
    Tensor scaled = factors.values.to(factors.vectors.options()).unsqueeze(1);
    return squared_norm(AZ_ - factors.vectors.mm(scaled * space().coefficients(factors.vectors, Z_)),
                        confidence);
  }

  // norm_F(A)^2 from the probes alone, or beside the factors that leave least of it open.
  void choose_norm() {
    auto width = [](const Measured& x) { return x.high - x.low; };
    if (!finite_) {
      result_.frobenius = {std::nan(""), 0, std::numeric_limits<double>::infinity()};
      return;
    }
    Measured square = squared_norm(AZ_, options_.confidence);
    norm_at_half_ = squared_norm(AZ_, half());
    for (auto& factors : factors_) {
      if (!factors.projected) continue;
      factors.kept = factors.values.square().sum().item<double>();
      factors.rest = rest_of(factors, options_.confidence);
      auto whole = [&](const Measured& rest) {
        return Measured{factors.kept + rest.value, factors.kept + rest.low, factors.kept + rest.high};
      };
      if (result_.exact || width(whole(factors.rest)) >= width(square)) continue;
      square = whole(factors.rest);
      norm_at_half_ = whole(rest_of(factors, half()));
    }
    result_.frobenius = {std::sqrt(square.value), std::sqrt(square.low), std::sqrt(square.high)};
  }

  // Products are rounded, and so are v'A v and the values that should be equal.
  Measured rounded(const Measured& x) const {
    double rounding = 10 * A_.domain().epsilon();
    return {x.value, std::max(0.0, x.low - rounding), x.high + rounding};
  }

  void measure(const Factors& factors, LowRankCurve& curve) const {
    factors.projected ? by_values(factors, curve) : by_probes(factors, curve);
    double all = result_.frobenius.high > 0 ? 1 : 0;  // of rank 0 by definition
    curve.error.front() = {all, all, all};
    if (curve.most() < std::min(options_.count, n_))
      curve.note = fmt::format("ends at rank {}: all that was found", curve.most());
  }

  void by_values(const Factors& factors, LowRankCurve& curve) const {
    auto value = to_vector(factors.values);
    double tail = factors.kept;
    for (size_t k = 0; k <= value.size(); ++k) {
      if (k > 0) tail = std::max(0.0, tail - value[k - 1] * value[k - 1]);
      if (k == value.size()) tail = 0;
      auto ratio = [&](double rest) { return root_ratio(rest + tail, rest + factors.kept); };
      curve.error.push_back(
          rounded({ratio(factors.rest.value), ratio(factors.rest.low), ratio(factors.rest.high)}));
    }
  }

  void by_probes(const Factors& factors, LowRankCurve& curve) const {
    auto value = to_vector(factors.values);
    Tensor EZ = AZ_.clone(), W = space().coefficients(factors.vectors, Z_);
    for (size_t k = 0; k <= value.size(); ++k) {
      auto last = static_cast<int64_t>(k) - 1;
      if (k > 0) EZ -= at::outer(factors.vectors.select(1, last) * value[last], W.select(0, last));
      Measured rest = squared_norm(EZ, half());
      double norm = result_.frobenius.value * result_.frobenius.value;
      curve.error.push_back(rounded({root_ratio(rest.value, norm), root_ratio(rest.low, norm_at_half_.high),
                                     root_ratio(rest.high, norm_at_half_.low)}));
    }
  }

  void find_rank(LowRankCurve& curve) const {
    auto first = [&](auto end) {
      auto found = std::find_if(curve.error.begin(), curve.error.end(),
                                [&](const Measured& x) { return end(x) <= options_.wanted; });
      return found - curve.error.begin();
    };
    curve.rank_low = first([](const Measured& x) { return x.low; });
    int64_t high = first([](const Measured& x) { return x.high; });
    curve.rank_high = high <= curve.most() ? high : -1;
  }

  const LinearOperator& A_;
  const LowRankCurveOptions& options_;
  const EigenResult* pairs_;
  int64_t n_, before_;
  OperatorPtr formed_;
  Tensor Z_, AZ_;
  bool finite_ = true, stopped_ = false;
  std::vector<Factors> factors_;
  Measured norm_at_half_;
  LowRankCurves result_;
};

}  // namespace

void LowRankCurveOptions::check() const {
  require_at_least("count", static_cast<double>(count), 1);
  require_inside("wanted", wanted, 0, 1);
  require_non_negative("oversampling", static_cast<double>(oversampling));
  require_non_negative("power_passes", static_cast<double>(power_passes));
  require_at_least("probes", static_cast<double>(probes), 4);
  require_inside("confidence", confidence, 0, 1);
}

std::string LowRankCurve::rank_words() const {
  if (most() < 0) return "unknown";
  if (rank_low > most()) return fmt::format("more than {}", most());
  if (rank_high < 0) return fmt::format("{} or more", rank_low);
  return rank_low == rank_high ? fmt::format("{}", rank_low) : fmt::format("{} to {}", rank_low, rank_high);
}

std::string LowRankCurves::report() const {
  std::string text =
      fmt::format("low rank of {} (n = {}): norm_F {}\n", name, format_count(size), in_words(frobenius));
  TextTable table({"method", fmt::format("rank for {}", format_number(wanted)), "error at", "", "products"});
  for (const auto& curve : curves)
    table.add({std::string(to_string(curve.method)), curve.rank_words(),
               curve.most() < 0 ? "-" : fmt::format("{}", curve.most()),
               curve.most() < 0 ? curve.note : in_words(curve.error.back()), format_count(curve.products)});
  text += table.str();
  return text + fmt::format("  {}{}; {} products\n",
                            exact ? "" : fmt::format("{:g} % intervals, from ", 100 * confidence), how,
                            format_count(products));
}

int64_t low_rank_curve_products(int64_t n, bool positive_semidefinite, const LowRankCurveOptions& options) {
  if (n <= options.dense_limit) return n;
  int64_t products = options.probes, m = std::min(n, options.count + options.oversampling);
  for (LowRankMethod method : options.methods) {
    if (method == LowRankMethod::randomized_svd || method == LowRankMethod::randomized_qr)
      products += m * (options.power_passes + 2);
    if (method == LowRankMethod::nystrom && positive_semidefinite) products += m;
    if (method == LowRankMethod::indefinite_nystrom)
      products += std::min(n, std::max(m, (3 * options.count + 1) / 2));
  }
  return products;
}

LowRankCurves low_rank_curves(const LinearOperator& A, const LowRankCurveOptions& options,
                              const EigenResult* pairs) {
  options.check();
  if (!A.symmetric()) fail_usage(fmt::format("low_rank_curves: {} is not declared symmetric", A.name()));
  at::NoGradGuard no_grad;
  return CurveEstimate(A, options, pairs).run();
}

}  // namespace osculant
