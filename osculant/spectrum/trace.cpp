#include "osculant/spectrum/trace.h"

#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "osculant/base/error.h"
#include "osculant/base/random.h"
#include "osculant/base/text.h"
#include "osculant/linop/orthonormalize.h"
#include "osculant/spectrum/leave_one_out.h"
#include "osculant/spectrum/statistics.h"
#include "osculant/spectrum/trace_plan.h"

namespace osculant {
namespace {

constexpr int64_t kBlock = 8;

class TraceEstimator {
 public:
  TraceEstimator(const LinearOperator& A, const TraceOptions& options)
      : A_(A), space_(A.domain()), options_(options), random_(options.seed, "trace"), before_(A.products()) {
    result_.confidence = options.confidence;
  }

  TraceResult run() {
    if (space_.size() <= options_.products) {
      sum_diagonal();
    } else if (sketch()) {
      probe();
      conclude();
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

  // ---- what is exact ----

  void sum_diagonal() {
    for (int64_t begin = 0, n = space_.size(); begin < n; begin += kBlock) {
      if (!may_go_on()) return state_unknown(TraceStop::interrupted);
      int64_t k = std::min(kBlock, n - begin);
      Tensor E = space_.unit_vectors(begin, k);
      add_exactly(E, A_.apply(E));
    }
    finish_exact();
  }

  // The trace over the span of the orthonormal columns of Q.
  void add_exactly(const Tensor& Q, const Tensor& AQ) {
    for (int64_t i = 0; i < Q.size(1); ++i) {
      exact_part_ += space_.dot(Q.select(1, i), AQ.select(1, i));
      result_.rounding += rounding_of(Q.select(1, i), AQ.select(1, i));
    }
  }

  // Of x'Ax: a few u norm(x) norm(Ax).
  double rounding_of(const Tensor& x, const Tensor& y) const {
    return 4 * space_.epsilon() * space_.norm(x) * space_.norm(y);
  }

  void finish_exact() {
    result_.exact = true;
    result_.stop = TraceStop::exact;
    result_.value = exact_part_;
    result_.low = exact_part_ - result_.rounding;
    result_.high = exact_part_ + result_.rounding;
    if (!std::isfinite(exact_part_)) state_unknown(TraceStop::non_finite);
  }

  void state_unknown(TraceStop stop) {
    result_.exact = false;
    result_.stop = stop;
    result_.low = -std::numeric_limits<double>::infinity();
    result_.high = std::numeric_limits<double>::infinity();
  }

  // ---- the sketch, which is the pilot ----

  // Draws columns O and Y = A O, doubling their number while more may pay, and deflates as many as do. All
  // are samples of the trace as well as directions, so that nothing is lost where none is deflated. False
  // where the result stands.
  bool sketch() {
    result_.method = TraceMethod::hutchinson;
    int64_t most = TracePlan::most_columns(options_, space_);
    for (int64_t k = 0; k < most && (k == 0 || plan().should_grow());) {
      k = std::min(std::max(2 * k, kBlock), most);
      if (!extend(k)) {
        conclude();
        return false;
      }
      factorize();
      if (basis_.rank < k && ends_here()) return false;
    }
    if (most == 0) return true;
    int64_t m = options_.method == TraceMethod::automatic ? plan().columns_to_deflate() : basis_.rank;
    if (m > 0 && !deflate(m)) {
      conclude();
      return false;
    }
    O_ = Y_ = Tensor();
    if (!deflated()) basis_ = {};
    return true;
  }

  TracePlan plan() const { return {options_, O_.size(1), samples_, whole_}; }

  bool extend(int64_t k) {
    std::vector<Tensor> O, Y;
    if (O_.defined()) O = {O_}, Y = {Y_};
    for (int64_t have = O_.defined() ? O_.size(1) : 0; have < k; have += O.back().size(1)) {
      if (!may_go_on()) return false;
      O.push_back(draw_signs(std::min(kBlock, k - have)));
      Y.push_back(A_.apply(O.back()));
      add_plain_samples(O.back(), Y.back());
      if (!std::isfinite(samples_.mean())) return false;
    }
    O_ = join(O);
    Y_ = join(Y);
    return true;
  }

  static Tensor join(const std::vector<Tensor>& blocks) {
    std::vector<Tensor> rows;
    for (const auto& block : blocks) rows.push_back(block.t());
    return at::cat(rows).t();
  }

  void factorize() {
    basis_ = {};
    whole_ = {};
    basis_ = orthonormalize(space_, Y_);
    if (basis_.rank == O_.size(1)) whole_ = {space_.size(), basis_.R, space_.gram(basis_.Q, O_)};
  }

  // Fewer directions than columns: the range should be all in Q. Signs may be alike where A looks at few
  // entries of them, so normal vectors are asked until one shows nothing new, from which no part of the range
  // can hide.
  bool ends_here() {
    double columns = static_cast<double>(Y_.size(1));
    double scale = basis_.rank > 0 ? basis_.R.norm(2, {0}).max().item<double>() : 0;
    while (basis_.rank < Y_.size(1) && left() > basis_.rank) {
      Tensor g = space_.normal(random_, 1);
      Tensor outside = without_range(A_.apply(g));
      double norm = space_.norm(outside.select(1, 0));
      if (norm <= 100 * std::sqrt(columns) * space_.epsilon() * scale) {
        sum_over_range(norm);
        return true;
      }
      if (!std::isfinite(norm)) return false;
      outside = without_range(outside / norm);
      basis_.Q = join({basis_.Q, outside / space_.norm(outside.select(1, 0))});
      ++basis_.rank;
    }
    return false;
  }

  void sum_over_range(double outside) {
    for (int64_t begin = 0; begin < basis_.rank; begin += kBlock) {
      Tensor block = basis_.Q.narrow(1, begin, std::min(kBlock, basis_.rank - begin));
      add_exactly(block, A_.apply(block));
    }
    result_.rounding += outside;
    result_.method = method_of_deflation();
    result_.rank = basis_.rank;
    finish_exact();
  }

  TraceMethod method_of_deflation() const {
    return options_.method == TraceMethod::deflated ? TraceMethod::deflated : TraceMethod::xtrace;
  }

  // ---- deflation ----

  // tr A = tr Q'AQ + tr B, B = P A P, P = I - QQ' off the first m columns. The columns of O after them are
  // independent of Q and samples of tr B, for no product: o'Bo from Q'O, O'AQ and Q'AO.
  bool deflate(int64_t m) {
    int64_t k = O_.size(1);
    Tensor Q = basis_.Q.narrow(1, 0, m);
    Tensor H = at::empty({m, m}, at::kDouble), T = at::empty({k, m}, at::kDouble);
    double rounding = 0;
    for (int64_t begin = 0; begin < m; begin += kBlock) {
      if (!may_go_on()) return false;
      int64_t size = std::min(kBlock, m - begin);
      Tensor block = Q.narrow(1, begin, size), Z = A_.apply(block);
      H.narrow(1, begin, size).copy_(space_.gram(Q, Z));
      T.narrow(1, begin, size).copy_(space_.gram(O_, Z));
      for (int64_t i = 0; i < size; ++i) rounding += rounding_of(block.select(1, i), Z.select(1, i));
    }
    result_.rank = m;
    result_.rounding = rounding;
    exact_part_ = H.trace().item<double>();
    basis_.Q = Q;
    bool exchangeable = whole_.columns() > 0;
    if (exchangeable) mean_eigenvalue_ = whole_.first(m).mean_eigenvalue();
    result_.method = method_of_deflation();
    samples_ = {};
    rounding_of_samples_ = 0;
    rounded_ = 0;
    if (exchangeable && k > m) add_samples_beside(H, T, k - m);
    if (exchangeable && result_.method == TraceMethod::xtrace) {
      estimates_ = whole_.first(m).estimates(H, T.narrow(0, 0, m), mean_eigenvalue_).mean().item<double>();
      weight_of_estimates_ = kWorthOfEstimate * static_cast<double>(m);
    }
    return true;
  }

  void add_samples_beside(const Tensor& H, const Tensor& T, int64_t count) {
    int64_t m = H.size(0);
    Tensor O = O_.narrow(1, m, count), Y = Y_.narrow(1, m, count);
    Tensor W = space_.gram(basis_.Q, O), QY = space_.gram(basis_.Q, Y), t = T.narrow(0, m, count).t();
    Tensor inner = (W * (H.mm(W) - t - QY)).sum(0), squares = W.square().sum(0);
    for (int64_t i = 0; i < count; ++i) {
      Tensor o = O.select(1, i), y = Y.select(1, i);
      samples_.add(space_.dot(o, y) + inner[i].item<double>() +
                   mean_eigenvalue_ * (squares[i].item<double>() - static_cast<double>(m)));
      rounding_of_samples_ += rounding_of(o, y);
      ++rounded_;
    }
  }

  // ---- probes ----

  bool deflated() const { return result_.rank > 0; }

  Tensor draw_signs(int64_t count) { return space_.rademacher(random_, count); }
  Tensor without_range(const Tensor& X) const { return X - basis_.Q.mm(space_.coefficients(basis_.Q, X)); }

  void add_plain_samples(const Tensor& Z, const Tensor& AZ) {
    for (int64_t i = 0; i < Z.size(1); ++i) {
      samples_.add(space_.dot(Z.select(1, i), AZ.select(1, i)));
      rounding_of_samples_ += rounding_of(Z.select(1, i), AZ.select(1, i));
      ++rounded_;
    }
  }

  // z'Bz - b (norm(z)^2 - (n - m)), whose second part has expectation 0, and norm(Bz - bz)^2.
  void add_deflated_samples(const Tensor& Z, const Tensor& AZ) {
    Tensor R = without_range(AZ) - Z * mean_eigenvalue_;
    double b = mean_eigenvalue_, dimensions = static_cast<double>(space_.size() - result_.rank);
    for (int64_t i = 0; i < Z.size(1); ++i) {
      Tensor z = Z.select(1, i), r = R.select(1, i);
      samples_.add(space_.dot(z, r) + b * dimensions);
      squares_.add(space_.dot(r, r));
      rounding_of_samples_ += rounding_of(z, AZ.select(1, i));
      ++rounded_;
    }
  }

  void probe() {
    result_.stop = TraceStop::products;
    while (left() > 0 && may_go_on()) {
      Tensor Z = draw_signs(std::min(kBlock, left()));
      if (deflated()) Z = without_range(Z);
      Tensor AZ = A_.apply(Z);
      deflated() ? add_deflated_samples(Z, AZ) : add_plain_samples(Z, AZ);
      if (!std::isfinite(samples_.mean())) return;
      bool enough = samples_.count() >= (deflated() ? FewestProbes::to_stop : FewestProbes::plain);
      if (options_.tolerance > 0 && enough && half_width() <= options_.tolerance * std::abs(center())) {
        result_.stop = TraceStop::tolerance;
        return;
      }
    }
  }

  // ---- the result ----

  double center() const { return exact_part_ + samples_.mean(); }

  // Inverse variances as weights: given the sketch, the probes' mean has no bias, so the two do not
  // correlate.
  double value() const {
    auto probes = static_cast<double>(samples_.count());
    return center() + weight_of_estimates_ / (weight_of_estimates_ + probes) * (estimates_ - center());
  }

  double quantile(double dof) const { return student_quantile((1 + options_.confidence) / 2, dof); }

  double half_width() const {
    auto samples = static_cast<double>(samples_.count());
    if (!deflated()) return quantile(samples - 1) * std::sqrt(samples_.variance() / samples) + rounding();
    // The degrees of freedom of squares_' mean (Satterthwaite 1946); one a probe where there are too few to
    // say.
    auto probes = static_cast<double>(squares_.count());
    double spread = squares_.variance(), mean = squares_.mean();
    double each = spread > 0 ? std::max(1.0, 2 * mean * mean / spread) : 1;
    return quantile(probes * each) * std::sqrt(2 * mean / samples) + rounding();
  }

  double rounding() const {
    return result_.rounding + rounding_of_samples_ / std::max<double>(1, static_cast<double>(rounded_));
  }

  void conclude() {
    result_.probes = samples_.count();
    result_.value = value();
    if (!std::isfinite(result_.value)) return state_unknown(TraceStop::non_finite);
    if (deflated() ? squares_.count() < 1 : samples_.count() < 2) return state_unknown(result_.stop);
    double half = half_width();
    result_.low = std::min(center() - half, result_.value);
    result_.high = std::max(center() + half, result_.value);
    result_.rounding = rounding();
  }

  const LinearOperator& A_;
  const VectorSpace space_;
  const TraceOptions& options_;
  RandomStream random_;
  TraceResult result_;
  int64_t before_;

  Tensor O_, Y_;       // the sketch and A times it
  Orthonormal basis_;  // of Y, and of what is deflated
  LeaveOneOut whole_;  // none where the columns of Y depend on each other

  double exact_part_ = 0, mean_eigenvalue_ = 0;
  double estimates_ = 0, weight_of_estimates_ = 0;
  RunningMoments samples_, squares_;
  double rounding_of_samples_ = 0;
  int64_t rounded_ = 0;
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
    case TraceMethod::xtrace:
      return "xtrace";
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

int64_t TraceOptions::vectors(const VectorSpace& space) const {
  int64_t columns = space.size() <= products ? 0 : TracePlan::most_columns(*this, space);
  return 3 * columns + 2 * kBlock;
}

void TraceOptions::check() const {
  require_at_least("products", static_cast<double>(products), 3);
  require_non_negative("tolerance", tolerance);
  require_non_negative("sketch_bytes", static_cast<double>(sketch_bytes));
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
