#include "osculant/spectrum/trace.h"

#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "osculant/base/error.h"
#include "osculant/base/random.h"
#include "osculant/base/text.h"
#include "osculant/linop/orthonormalize.h"
#include "osculant/spectrum/statistics.h"

namespace osculant {
namespace {

constexpr int64_t kBlock = 8;
// A t interval needs its mean to be nearly normal; the samples of a low-rank remainder are skewed.
constexpr int64_t kFewestProbes = 30;

class TraceEstimator {
 public:
  TraceEstimator(const LinearOperator& A, const TraceOptions& options)
      : A_(A), space_(A.domain()), options_(options), random_(options.seed, "trace"), before_(A.products()) {
    result_.confidence = options.confidence;
  }

  TraceResult run() {
    if (space_.size() <= options_.products) {
      sum_diagonal();
    } else {
      estimate();
    }
    result_.products = spent();
    return result_;
  }

 private:
  int64_t spent() const { return A_.products() - before_; }
  int64_t left() const { return options_.products - spent(); }

  bool may_go_on() {
    bool go_on = !options_.progress || options_.progress(spent());
    if (!go_on) result_.stop = TraceStop::interrupted;
    return go_on;
  }

  // The rounding of x'Ax: about u norm(x) norm(Ax).
  void add_rounding(const Tensor& x, const Tensor& y, double share) {
    result_.rounding += share * space_.epsilon() * space_.norm(x) * space_.norm(y);
  }

  void sum_diagonal() {
    for (int64_t begin = 0, n = space_.size(); begin < n; begin += kBlock) {
      if (!may_go_on()) return state_unknown();
      int64_t k = std::min(kBlock, n - begin);
      Tensor E = space_.zeros(k);
      E.narrow(0, begin, k).fill_diagonal_(1);
      add_exactly(E, A_.apply(E));
    }
    finish_exact();
  }

  // The trace over the span of the orthonormal columns of Q.
  void add_exactly(const Tensor& Q, const Tensor& AQ) {
    for (int64_t i = 0; i < Q.size(1); ++i) {
      exact_part_ += space_.dot(Q.select(1, i), AQ.select(1, i));
      add_rounding(Q.select(1, i), AQ.select(1, i), 1);
    }
  }

  void finish_exact() {
    result_.exact = true;
    result_.stop = TraceStop::exact;
    result_.value = exact_part_;
    result_.low = exact_part_ - result_.rounding;
    result_.high = exact_part_ + result_.rounding;
    if (!std::isfinite(exact_part_)) state_unknown(TraceStop::non_finite);
  }

  void state_unknown(TraceStop stop = TraceStop::interrupted) {
    result_.exact = false;
    result_.stop = stop;
    result_.low = -std::numeric_limits<double>::infinity();
    result_.high = std::numeric_limits<double>::infinity();
  }

  void estimate() {
    result_.method = options_.method;
    int64_t k = sketch_size();
    if (k == 0) {
      result_.method = TraceMethod::hutchinson;
    } else if (!sketch_and_decide(k)) {
      return;
    }
    probe();
    conclude();
  }

  // A third of the products to find the range, a third to deflate it, a third to probe the rest.
  int64_t sketch_size() const {
    int64_t M = options_.products;
    if (options_.method == TraceMethod::hutchinson) return 0;
    if (options_.method == TraceMethod::deflated) return std::max<int64_t>(1, M / 3);
    return std::max<int64_t>(0, std::min(M / 3, (M - kFewestProbes) / 2));
  }

  // False where the trace is already known, or cannot be.
  bool sketch_and_decide(int64_t k) {
    Tensor Y = A_.range().zeros(k);
    for (int64_t begin = 0; begin < k; begin += kBlock) {
      if (!may_go_on()) break;
      int64_t size = std::min(kBlock, k - begin);
      Tensor Z = signs(size), AZ = A_.apply(Z);
      Y.narrow(1, begin, size).copy_(AZ);
      add_samples(Z, AZ);
    }
    if (result_.stop == TraceStop::interrupted || !std::isfinite(samples_.mean())) {
      conclude();
      return false;
    }
    auto [Q, R, rank] = orthonormalize(space_, Y);
    // Fewer directions than probes: the range is all in Q, for what is random cannot have missed a part of
    // it.
    if (rank < k) {
      result_.method = TraceMethod::deflated;
      deflate(Q);
      finish_exact();
      return false;
    }
    if (options_.method == TraceMethod::automatic)
      result_.method = deflation_pays(R) ? TraceMethod::deflated : TraceMethod::hutchinson;
    if (result_.method == TraceMethod::deflated) deflate(Q);
    return true;
  }

  // Plain, all M products are samples; deflated, M - 2k are, of a variance that has fallen with the squared
  // Frobenius norm. What of column i lies outside the span of the others, 1 / norm(row i of R^-1), is a
  // sample of norm_F((I - QQ')A) for a sketch one smaller.
  bool deflation_pays(const Tensor& R) const {
    Tensor outside = at::linalg_inv(R).square().sum(1).reciprocal();
    double share = outside.mean().item<double>() / R.square().sum(0).mean().item<double>();
    double M = static_cast<double>(options_.products), k = static_cast<double>(R.size(0));
    return share / (M - 2 * k) < 1 / M;
  }

  // tr A = tr Q'AQ + tr (I - QQ')A(I - QQ'). The samples made so far went into Q and are not independent of
  // it.
  void deflate(const Tensor& Q) {
    samples_ = {};
    result_.rounding = rounding_of_samples_ = 0;
    Q_ = Q;
    result_.rank = Q.size(1);
    for (int64_t begin = 0; begin < Q.size(1); begin += kBlock) {
      Tensor block = Q.narrow(1, begin, std::min(kBlock, Q.size(1) - begin));
      add_exactly(block, A_.apply(block));
    }
  }

  Tensor signs(int64_t count) {
    Tensor Z = random_.rademacher({count, space_.local_size()}, space_.options()).t();
    if (!Q_.defined()) return Z;
    return Z - Q_.mm(Q_.t().mm(Z));
  }

  void add_samples(const Tensor& Z, const Tensor& AZ) {
    for (int64_t i = 0; i < Z.size(1); ++i) {
      Tensor z = Z.select(1, i), Az = AZ.select(1, i);
      samples_.add(space_.dot(z, Az));
      rounding_of_samples_ += space_.epsilon() * space_.norm(z) * space_.norm(Az);
    }
  }

  void probe() {
    result_.stop = TraceStop::products;
    while (left() > 0 && may_go_on()) {
      Tensor Z = signs(std::min(kBlock, left()));
      add_samples(Z, A_.apply(Z));
      if (!std::isfinite(samples_.mean())) return;
      bool enough =
          samples_.count() >= kFewestProbes && half_width() <= options_.tolerance * std::abs(value());
      if (options_.tolerance > 0 && enough) {
        result_.stop = TraceStop::tolerance;
        return;
      }
    }
  }

  double value() const { return exact_part_ + samples_.mean(); }

  double half_width() const {
    double dof = static_cast<double>(samples_.count() - 1);
    double t = student_quantile((1 + options_.confidence) / 2, dof);
    return t * std::sqrt(samples_.variance() / (dof + 1)) + rounding();
  }
  double rounding() const {
    return result_.rounding +
           rounding_of_samples_ / std::max<double>(1, static_cast<double>(samples_.count()));
  }

  void conclude() {
    result_.probes = samples_.count();
    result_.value = value();
    if (!std::isfinite(result_.value)) return state_unknown(TraceStop::non_finite);
    if (samples_.count() < 2) return state_unknown(result_.stop);
    double half = half_width();
    result_.low = result_.value - half;
    result_.high = result_.value + half;
    result_.rounding = rounding();
  }

  const LinearOperator& A_;
  const VectorSpace space_;
  const TraceOptions& options_;
  RandomStream random_;
  TraceResult result_;
  RunningMoments samples_;
  Tensor Q_;
  int64_t before_;
  double exact_part_ = 0, rounding_of_samples_ = 0;
};

}  // namespace

std::string_view to_string(TraceMethod method) {
  switch (method) {
    case TraceMethod::automatic:
      return "automatic";
    case TraceMethod::hutchinson:
      return "hutchinson";
    case TraceMethod::deflated:
      return "deflated";
  }
  return "?";
}

std::string_view to_string(TraceStop stop) {
  switch (stop) {
    case TraceStop::exact:
      return "exact";
    case TraceStop::tolerance:
      return "tolerance";
    case TraceStop::products:
      return "products";
    case TraceStop::interrupted:
      return "interrupted";
    case TraceStop::non_finite:
      return "non_finite";
  }
  return "?";
}

void TraceOptions::check() const {
  require_at_least("products", static_cast<double>(products), 3);
  require_non_negative("tolerance", tolerance);
  require_inside("confidence", confidence, 0, 1);
}

std::string TraceResult::report() const {
  if (stop == TraceStop::non_finite)
    return fmt::format("trace unknown: a product was not finite ({} products)\n", products);
  std::string how =
      exact ? fmt::format("exact to rounding, {} products", products)
            : fmt::format("{:g} % interval from {} probes{}; {} products, stop: {}", 100 * confidence, probes,
                          rank > 0 ? fmt::format(" beside {} exact directions", rank) : "", products,
                          to_string(stop));
  return fmt::format("trace {} in [{}, {}] ({})\n", format_number(value), format_number(low),
                     format_number(high), how);
}

TraceResult trace(const LinearOperator& A, const TraceOptions& options) {
  options.check();
  if (A.rows() != A.cols())
    fail_usage(fmt::format("trace: {} is {} x {}: must be square", A.name(), A.rows(), A.cols()));
  torch::NoGradGuard no_grad;
  return TraceEstimator(A, options).run();
}

}  // namespace osculant
