#include "osculant/spectrum/eigenpairs.h"

#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "osculant/base/error.h"
#include "osculant/base/random.h"
#include "osculant/base/text.h"
#include "osculant/spectrum/block_krylov.h"
#include "osculant/spectrum/certificate.h"
#include "osculant/spectrum/lanczos.h"
#include "osculant/spectrum/ritz.h"

namespace osculant {
namespace {

class Eigensolver {
 public:
  Eigensolver(const LinearOperator& A, const EigenOptions& options)
      : A_(A),
        space_(A.domain()),
        options_(options),
        random_(options.seed, "eigenpairs"),
        before_(A.products()) {
    count_ = std::min(options.count, A.cols());
    wanted_ = options.target == EigenTarget::both ? 2 * count_ : count_;
    limit_ = options.max_products > 0 ? options.max_products : 500 + 50 * wanted_;
    settings_ = settings();
    result_.target = options.target;
    result_.tolerance = options.tolerance;
    result_.size = A.cols();
    result_.name = A.name();
  }

  EigenResult run() {
    if (dense_is_cheap()) {
      solve_dense();
    } else {
      solve_by_lanczos();
    }
    result_.scale = scale_;
    result_.products = spent();
    return std::move(result_);
  }

 private:
  enum class Outcome { converged, products, interrupted, non_finite };

  int64_t spent() const { return A_.products() - before_; }
  double allowed() const { return options_.tolerance * scale_; }
  void stop(EigenStop reason, std::string message) {
    result_.stop = reason;
    result_.message = std::move(message);
  }

  // ---- small operators ----

  bool dense_is_cheap() const {
    int64_t n = A_.cols();
    return (n <= options_.dense_limit || n <= 4 * wanted_) && n <= limit_;
  }

  void solve_dense() {
    Tensor M = to_dense(A_).to(at::kCPU, at::kDouble);
    if (!M.isfinite().all().item<bool>()) {
      publish({space_.zeros(0), {}, at::zeros({0}, at::kDouble), at::zeros({0, 0}, at::kDouble)}, 0);
      return stop(EigenStop::non_finite, "the matrix holds entries that are not finite");
    }
    Tensor S = (M + M.t()) / 2;
    auto [all, V] = at::linalg_eigh(S);
    auto index = wanted_indices(options_.target, to_vector(all), count_);
    Tensor Q = columns_of(V, index), values = all.index_select(0, at::tensor(index, at::kLong));
    Tensor R = S.mm(Q) - Q * values;
    scale_ = all.abs().max().item<double>();
    // The rounding of products: what makes the matrix unsymmetric, at least u of it.
    double noise = std::max({(M - S).norm().item<double>(), space_.epsilon() * M.norm().item<double>(),
                             options_.noise_floor * scale_});
    publish({Q.t().contiguous().to(space_.options()).t(), {}, values, R.t().mm(R)}, noise);
    result_.extreme_failure_probability = result_.missed_failure_probability = 0;
    result_.checked = true;
    stop(EigenStop::exact, fmt::format("all {} eigenvalues were computed from the matrix", A_.cols()));
  }

  // ---- large operators ----

  LanczosSettings settings() const {
    int64_t n = A_.cols(),
            bytes = space_.local_size() * static_cast<int64_t>(space_.options().dtype().itemsize());
    int64_t least = std::min(n, wanted_ + std::max<int64_t>(8, wanted_ / 2));
    int64_t capacity = options_.krylov_dimension;
    if (capacity > 0 && capacity < std::min(n, wanted_ + 4))
      fail_option("krylov_dimension", fmt::format("{}", capacity),
                  fmt::format(">= {} for {} eigenpairs", std::min(n, wanted_ + 4), wanted_));
    if (capacity == 0) {
      int64_t most = std::max(options_.basis_bytes / std::max<int64_t>(bytes, 1) - 1, least);
      capacity = std::min(std::max<int64_t>(100, 15 * wanted_), most);
    }
    capacity = std::min(capacity, n);
    // sqrt(u) keeps T exact to u (Simon 1984). Residuals feel what is let go, so not above the tolerance.
    double u = space_.epsilon();
    double orthogonality = std::max(std::min(std::sqrt(u), options_.tolerance), 20 * u);
    bool stays_in_cache = capacity * bytes <= int64_t{2} << 20;
    return {capacity, orthogonality, stays_in_cache};
  }

  void solve_by_lanczos() {
    if (options_.block > 1 || (options_.start.defined() && options_.start.size(1) > 0)) {
      BlockKrylov krylov(A_, settings_.capacity, random_);
      krylov.start(start_block());
      Outcome outcome = find_pairs(krylov);
      if (outcome != Outcome::converged) return;
      // Nothing is known of a start that was not drawn at random; the search says it of both.
      Lanczos lanczos(A_, settings_, random_);
      search_until_nothing_is_missing(lanczos, krylov.exhausted());
      result_.extreme_failure_probability = result_.missed_failure_probability;
    } else {
      Lanczos lanczos(A_, settings_, random_);
      lanczos.start();
      Outcome outcome = find_pairs(lanczos);
      state_extreme_probability(lanczos);
      if (outcome == Outcome::converged) search_until_nothing_is_missing(lanczos, lanczos.exhausted());
    }
  }

  // `start`, and random columns up to `block`.
  Tensor start_block() {
    std::vector<Tensor> rows;
    if (options_.start.defined()) rows.push_back(options_.start.t().to(space_.options()));
    int64_t given = rows.empty() ? 0 : rows.front().size(0);
    if (given < options_.block)
      rows.push_back(random_.normal({options_.block - given, space_.local_size()}, space_.options()));
    Tensor X = at::cat(rows).t();
    int64_t room = std::max<int64_t>(1, settings_.capacity - wanted_ - 4);
    return X.narrow(1, 0, std::min(X.size(1), room));
  }

  Outcome find_pairs(KrylovProcess& process) {
    result_.krylov_dimension = settings_.capacity;
    Outcome outcome = converge(process);
    take(process);
    bool may_verify = outcome == Outcome::converged || outcome == Outcome::products;
    if (options_.verify && has_pairs() && may_verify && !verify()) outcome = Outcome::non_finite;
    conclude(outcome);
    return outcome;
  }

  void search_until_nothing_is_missing(Lanczos& lanczos, bool exhausted) {
    if (exhausted) {
      result_.checked = true;
      result_.missed_failure_probability = 0;
    } else if (options_.check_products != 0) {
      while (search(lanczos)) {
      }
    }
  }

  bool has_pairs() const { return result_.values.numel() > 0; }

  bool may_go_on(Outcome& outcome, int64_t reserve, bool checking) {
    if (spent() + reserve >= limit_) {
      outcome = Outcome::products;
    } else if (options_.progress && !options_.progress({spent(), wanted_, converged_, checking})) {
      outcome = Outcome::interrupted;
    } else {
      return true;
    }
    return false;
  }

  // A look at the Ritz pairs costs an eigenproblem of the basis's size, so not after every product.
  bool due(const KrylovProcess& process) {
    if (!process.full() && !process.exhausted() && process.size() < next_look_) return false;
    next_look_ = process.size() + std::max<int64_t>(2, process.size() / 25);
    return true;
  }

  void look(const KrylovProcess& process) {
    ritz_ = ritz_pairs(process);
    scale_ = std::max(scale_, ritz_.scale());
  }

  bool has_converged(int64_t i) const { return ritz_.residual[i] <= 0.9 * allowed(); }

  Outcome converge(KrylovProcess& process) {
    Outcome outcome = Outcome::converged;
    int64_t reserve = options_.verify ? wanted_ + 1 : 0;
    next_look_ = wanted_;
    while (may_go_on(outcome, reserve, false)) {
      if (process.full()) restart(process);
      if (!process.extend()) return Outcome::non_finite;
      if (!due(process)) continue;
      look(process);
      note_ends();
      auto index = wanted_indices(options_.target, ritz_.value, count_);
      converged_ = std::count_if(index.begin(), index.end(), [&](int64_t i) { return has_converged(i); });
      bool enough = ritz_.size() >= wanted_ || process.exhausted();
      if (enough && converged_ == static_cast<int64_t>(index.size())) return Outcome::converged;
      aim_at_unconverged(process, index);
    }
    return outcome;
  }

  void aim_at_unconverged(KrylovProcess& process, std::vector<int64_t> index) const {
    std::erase_if(index, [&](int64_t i) { return has_converged(i); });
    std::sort(index.begin(), index.end(),
              [&](int64_t a, int64_t b) { return ritz_.residual[a] > ritz_.residual[b]; });
    if (!index.empty()) process.aim(columns_of(ritz_.vectors, index));
  }

  // Keeps the wanted Ritz vectors, the third of the rest next to them, and those at the other end that have
  // all but converged: given up they would come back, and cost again what they cost already.
  void restart(KrylovProcess& process) {
    int64_t m = ritz_.size(), keep = wanted_ + (m - wanted_) / 3,
            most = m - std::max<int64_t>(2, (m - wanted_) / 3);
    bool both = options_.target == EigenTarget::both;
    auto index = wanted_indices(options_.target, ritz_.value, std::max<int64_t>(1, both ? keep / 2 : keep));
    std::vector<bool> kept(m, false);
    for (int64_t i : index) kept[i] = true;
    for (int64_t i : by_residual())
      if (static_cast<int64_t>(index.size()) < most && !kept[i] && ritz_.residual[i] <= 0.01 * scale_)
        index.push_back(i);
    process.restart(columns_of(ritz_.vectors, index),
                    ritz_.values.index_select(0, at::tensor(index, at::kLong)));
    next_look_ = process.size() + 2;
    ++result_.restarts;
  }

  std::vector<int64_t> by_residual() const {
    std::vector<int64_t> order(ritz_.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(),
              [&](int64_t a, int64_t b) { return ritz_.residual[a] < ritz_.residual[b]; });
    return order;
  }

  void note_ends() {
    lowest_ritz_ = std::min(lowest_ritz_, ritz_.value.front());
    highest_ritz_ = std::max(highest_ritz_, ritz_.value.back());
  }

  // The wanted pairs as the recurrence has them.
  void take(const KrylovProcess& process) {
    if (process.size() > 0) look(process);
    int64_t count = std::min(count_, options_.target == EigenTarget::both ? ritz_.size() / 2 : ritz_.size());
    if (count == 0)
      return publish({space_.zeros(0), {}, at::zeros({0}, at::kDouble), at::zeros({0, 0}, at::kDouble)}, 0);
    // What reorthogonalisation removes from the vectors and T does not know of is below the limit it keeps.
    double dropped = settings_.full ? 0 : settings_.orthogonality;
    publish(pairs_of_recurrence(space_, process, ritz_, wanted_indices(options_.target, ritz_.value, count)),
            (std::max(options_.noise_floor, 4 * space_.epsilon()) + dropped) * scale_);
  }

  // False where a product was not finite; the pairs are then the recurrence's still.
  bool verify() {
    Tensor AQ = apply_by_blocks(A_, result_.vectors);
    if (!AQ.isfinite().all().item<bool>()) return false;
    adopt(result_.vectors, AQ);
    return true;
  }

  // Rayleigh-Ritz on Z with products at hand, and the noise of a product measured on the result.
  void adopt(const Tensor& Z, const Tensor& AZ) {
    PairBlock block = rayleigh_ritz(space_, Z, AZ, options_.target, count_);
    scale_ = std::max(scale_, block.values.abs().max().item<double>());
    if (measured_noise_ < 0) measured_noise_ = difference_of_two_products(block);
    publish(std::move(block),
            std::max({2 * measured_noise_, options_.noise_floor * scale_, 4 * space_.epsilon() * scale_}));
  }

  // norm(A y - (A Q) c) for y = Q c of norm 1: two roundings of one product, in which every wanted pair has
  // part.
  double difference_of_two_products(const PairBlock& block) const {
    int64_t k = block.Q.size(1);
    Tensor c = at::full({k}, 1 / std::sqrt(static_cast<double>(k)), space_.options());
    return space_.norm(A_.apply(block.Q.mv(c)) - block.AQ.mv(c));
  }

  // The pairs and statement 1. k orthonormal vectors with residual block R pair one to one with k
  // eigenvalues, each within norm_2(R) (Kahan 1967; Parlett 1998, ch. 11); each alone has one within its own
  // residual.
  void publish(PairBlock block, double noise) {
    double k = static_cast<double>(block.values.numel());
    result_.vectors = block.Q;
    result_.values = block.values;
    result_.noise = noise;
    measured_ = block.residual_gram.diagonal().clamp_min(0).sqrt();
    result_.residuals = measured_ + noise;
    result_.pairing_bound = block_norm(block.residual_gram) + std::sqrt(k) * noise;
    AQ_ = block.AQ;
    switch (options_.target) {
      case EigenTarget::smallest:
        result_.largest_count = 0;
        break;
      case EigenTarget::both:
        result_.largest_count = block.values.numel() / 2;
        break;
      default:
        result_.largest_count = block.values.numel();
    }
  }

  void conclude(Outcome outcome) {
    double worst = has_pairs() ? measured_.max().item<double>() : 0;
    auto words = [&](const char* what) {
      return fmt::format(
          "{} after {} products; {} of {} pairs within {} of the scale {}, largest residual {}", what,
          spent(), converged_, wanted_, options_.tolerance, format_number(scale_), format_number(worst));
    };
    switch (outcome) {
      case Outcome::interrupted:
        return stop(EigenStop::interrupted, words("interrupted"));
      case Outcome::products:
        return stop(EigenStop::products, words("product limit reached"));
      case Outcome::non_finite:
        return stop(EigenStop::non_finite, words("a product was not finite"));
      case Outcome::converged:
        break;
    }
    if (worst > allowed())
      return stop(
          EigenStop::noise,
          fmt::format("the recurrence converged, the residuals measured stay at {} > {} * {}; a product is "
                      "off by {}",
                      format_number(worst), options_.tolerance, format_number(scale_),
                      format_number(result_.noise)));
    stop(EigenStop::converged, fmt::format("largest residual {} <= {} * {}", format_number(worst),
                                           options_.tolerance, format_number(scale_)));
  }

  // ---- what can be said about pairs that were not found ----

  bool looks_up() const { return options_.target != EigenTarget::smallest; }
  bool looks_down() const { return options_.target != EigenTarget::largest; }

  // The probability that an eigenvalue at or beyond `top`, or at or below `bottom`, escaped the first cycle.
  double escape(int64_t n, const Lanczos& lanczos, double top, double bottom) const {
    const Tridiagonal& T = lanczos.first_cycle();
    double p = 0;
    if (looks_up()) p += escape_probability(n, T, top);
    if (looks_down()) {
      Tridiagonal negative = T;
      for (double& alpha : negative.diagonal) alpha = -alpha;
      p += escape_probability(n, negative, -bottom);
    }
    return std::min(p, 1.0);
  }

  void state_extreme_probability(const Lanczos& lanczos) {
    if (!has_pairs()) return;
    double top = highest_ritz_ + allowed(), bottom = lowest_ritz_ - allowed();
    if (options_.target == EigenTarget::dominant) {
      top = std::max(top, -bottom);
      bottom = -top;
    }
    result_.extreme_failure_probability = lanczos.exhausted() ? 0 : escape(A_.cols(), lanczos, top, bottom);
  }

  // Values at and beyond which an eigenvalue would be missing: the innermost wanted, and the tolerance.
  double missing_above() const {
    auto found = to_vector(result_.values);
    double last = options_.target == EigenTarget::both ? found[result_.largest_count - 1] : found.back();
    return (options_.target == EigenTarget::dominant ? std::abs(last) : last) + slack();
  }
  double missing_below() const {
    double last = to_vector(result_.values).back();
    return (options_.target == EigenTarget::dominant ? -std::abs(last) : last) - slack();
  }
  double slack() const { return allowed() + result_.noise; }

  std::vector<int64_t> missing() const {
    std::vector<int64_t> index;
    for (int64_t i : wanted_indices(options_.target, ritz_.value, count_)) {
      bool above = looks_up() && ritz_.value[i] > missing_above();
      bool below = looks_down() && ritz_.value[i] < missing_below();
      if ((above || below) && std::find(index.begin(), index.end(), i) == index.end()) index.push_back(i);
    }
    return index;
  }

  // Lanczos from a fresh random vector orthogonal to the pairs found. True when it found pairs that were
  // missing, which are then included, and a further search is due.
  bool search(Lanczos& lanczos) {
    result_.check_steps = 0;
    int64_t steps = options_.check_products > 0 ? options_.check_products : default_search_steps();
    if (!lanczos.start(result_.vectors)) return end_search(0);
    next_look_ = 1;
    Outcome outcome = Outcome::converged;
    std::vector<int64_t> missed;
    while (may_go_on(outcome, wanted_, true)) {
      if (lanczos.full()) restart(lanczos);
      if (!lanczos.extend()) {
        outcome = Outcome::non_finite;
        break;
      }
      ++result_.check_steps;
      if (!due(lanczos) && result_.check_steps < steps) continue;
      look(lanczos);
      missed = missing();
      if (missed.empty()) {
        double p = lanczos.exhausted() ? 0
                                       : escape(A_.cols() - result_.values.numel(), lanczos, missing_above(),
                                                missing_below());
        if (p <= options_.failure_probability || result_.check_steps >= steps) return end_search(p);
      } else if (std::all_of(missed.begin(), missed.end(), [&](int64_t i) { return has_converged(i); })) {
        return include(lanczos, missed);
      }
    }
    abandon_search(lanczos, missed, outcome);
    return false;
  }

  // From a start that was not random nothing has been learnt of the rest: what a cold run usually takes.
  int64_t default_search_steps() const {
    return std::max<int64_t>(options_.start.defined() ? 60 + 5 * wanted_ : 20, spent());
  }

  bool end_search(double probability) {
    result_.checked = true;
    result_.missed_failure_probability = probability;
    return false;
  }

  // False where a product was not finite; the pairs are then those from before.
  bool include(const Lanczos& lanczos, const std::vector<int64_t>& missed) {
    Tensor Y = lanczos.combine(columns_of(ritz_.vectors, missed));
    if (!AQ_.defined()) AQ_ = apply_by_blocks(A_, result_.vectors);
    // Stored by columns: concatenate rows.
    Tensor Z = at::cat({result_.vectors.t(), Y.t()}).t(),
           AZ = at::cat({AQ_.t(), apply_by_blocks(A_, Y).t()}).t();
    if (!AZ.isfinite().all().item<bool>()) {
      conclude(Outcome::non_finite);
      return false;
    }
    result_.found_by_check += static_cast<int64_t>(missed.size());
    adopt(Z, AZ);
    conclude(Outcome::converged);
    return true;
  }

  // Stopped before the search was through. Pairs seen to be missing are included as far as they have come.
  void abandon_search(const Lanczos& lanczos, const std::vector<int64_t>& missed, Outcome outcome) {
    if (missed.empty() || outcome != Outcome::products) {
      if (outcome != Outcome::products) conclude(outcome);
      result_.message +=
          fmt::format("; the search for missed pairs was cut short after {} steps", result_.check_steps);
      return;
    }
    look(lanczos);
    if (!include(lanczos, missing())) return;
    conclude(Outcome::products);
    result_.message += fmt::format(
        "; {} of the pairs were found by the search for missed ones and it was cut short", missed.size());
  }

  const LinearOperator& A_;
  const VectorSpace space_;
  const EigenOptions& options_;
  RandomStream random_;
  LanczosSettings settings_;
  EigenResult result_;
  Ritz ritz_;
  Tensor AQ_, measured_;
  int64_t before_, count_ = 0, wanted_ = 0, limit_ = 0, next_look_ = 0, converged_ = 0;
  double scale_ = 0, measured_noise_ = -1;
  double lowest_ritz_ = std::numeric_limits<double>::infinity(), highest_ritz_ = -lowest_ritz_;
};

}  // namespace

EigenResult eigenpairs(const LinearOperator& A, const EigenOptions& options) {
  options.check();
  if (!A.symmetric()) fail_usage(fmt::format("eigenpairs: {} is not declared symmetric", A.name()));
  if (options.start.defined() && (options.start.dim() != 2 || options.start.size(0) != A.cols()))
    fail_usage(fmt::format("eigenpairs: start is of shape [{}]; must be [{}, k]",
                           fmt::join(options.start.sizes().vec(), ", "), A.cols()));
  torch::NoGradGuard no_grad;
  return Eigensolver(A, options).run();
}

}  // namespace osculant
