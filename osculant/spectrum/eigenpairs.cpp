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
#include "osculant/spectrum/pair_verification.h"
#include "osculant/spectrum/ritz.h"
#include "osculant/spectrum/spectrum_ends.h"

namespace osculant {
namespace {

class Eigensolver {
 public:
  Eigensolver(const LinearOperator& A, const EigenOptions& options)
      : A_(A),
        space_(A.domain()),
        options_(options),
        random_(options.seed, "eigenpairs"),
        verification_(A, options),
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
      publish({none(), 0, 0});
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
    publish(
        {{space_.rows_of(Q.t().contiguous().to(space_.options()).t()), {}, values, R.t().mm(R)}, noise, 0});
    result_.extreme_failure_probability = result_.missed_failure_probability = 0;
    result_.checked = true;
    stop(EigenStop::exact, fmt::format("all {} eigenvalues were computed from the matrix", A_.cols()));
  }

  // ---- large operators ----

  LanczosSettings settings() const {
    int64_t n = A_.cols(), entry = static_cast<int64_t>(space_.options().dtype().itemsize()),
            bytes = space_.most_rows_held() * entry;
    int64_t least = std::min(n, wanted_ + std::max<int64_t>(8, wanted_ / 2));
    int64_t capacity = options_.krylov_dimension;
    if (capacity > 0 && capacity < std::min(n, wanted_ + 4))
      fail_option("krylov_dimension", fmt::format("{}", capacity),
                  fmt::format(">= {} for {} eigenpairs", std::min(n, wanted_ + 4), wanted_));
    if (capacity == 0) {
      int64_t most = std::max(options_.basis_bytes / bytes - 1, least);
      capacity = std::min(std::max<int64_t>(100, 15 * wanted_), most);
    }
    capacity = std::min(capacity, n);
    // sqrt(u) keeps T exact to u (Simon 1984). Residuals feel what is let go, so not above the tolerance.
    double u = space_.epsilon();
    double orthogonality = std::max(std::min(std::sqrt(u), options_.tolerance), 20 * u);
    bool stays_in_cache = capacity * n * entry <= int64_t{2} << 20;
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
    if (given < options_.block) rows.push_back(space_.normal(random_, options_.block - given).t());
    Tensor X = at::cat(rows).t();
    int64_t room = std::max<int64_t>(1, settings_.capacity - wanted_ - 4);
    return X.narrow(1, 0, std::min(X.size(1), room));
  }

  Outcome find_pairs(KrylovProcess& process) {
    result_.krylov_dimension = settings_.capacity;
    Outcome outcome = converge(process);
    take(process);
    bool may_verify = outcome == Outcome::converged || outcome == Outcome::products;
    // A restart gives up vectors that the coefficients removed from the recurrence belong to.
    if (options_.verify && has_pairs() && may_verify && !verify(result_.restarts == 0))
      outcome = Outcome::non_finite;
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

  // A look at the Ritz pairs costs an eigenproblem of the basis's size, so not after every product, but where
  // the next may be the last.
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
  bool nearly_converged(const std::vector<int64_t>& index) const {
    return std::all_of(index.begin(), index.end(),
                       [&](int64_t i) { return ritz_.residual[i] <= 4 * allowed(); });
  }

  Outcome converge(KrylovProcess& process) {
    Outcome outcome = Outcome::converged;
    int64_t reserve = options_.verify ? PairVerification::most_products(wanted_) : 0;
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
      if (enough && nearly_converged(index)) next_look_ = process.size() + 1;
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

  PairBlock none() const {
    return {space_.zeros(0), {}, at::zeros({0}, at::kDouble), at::zeros({0, 0}, at::kDouble)};
  }

  // The wanted pairs as the recurrence has them.
  void take(const KrylovProcess& process) {
    if (process.size() > 0) look(process);
    int64_t count = std::min(count_, options_.target == EigenTarget::both ? ritz_.size() / 2 : ritz_.size());
    if (count == 0) return publish({none(), 0, 0});
    // What reorthogonalisation removes from the vectors and T does not know of is below the limit it keeps.
    double dropped = settings_.full ? 0 : settings_.orthogonality;
    PairBlock pairs =
        pairs_of_recurrence(space_, process, ritz_, wanted_indices(options_.target, ritz_.value, count));
    if (!options_.verify) pairs.AQ = Tensor();  // a search that finds more multiplies for itself
    publish({std::move(pairs), (std::max(options_.noise_floor, 4 * space_.epsilon()) + dropped) * scale_, 0});
  }

  // False where a product was not finite; the pairs are then the recurrence's still.
  bool verify(bool recurrence_knows) {
    return adopt(verification_.verify(pairs_.block, scale_, recurrence_knows));
  }

  bool adopt(std::optional<VerifiedPairs> verified) {
    if (!verified) return false;
    publish(*std::move(verified));
    scale_ = std::max(scale_, result_.values.abs().max().item<double>());
    return true;
  }

  // The pairs and statement 1.
  void publish(VerifiedPairs pairs) {
    pairs_ = std::move(pairs);
    result_.vectors = pairs_.block.Q;
    result_.values = pairs_.block.values;
    result_.noise = pairs_.noise;
    result_.residuals = pairs_.error_bounds();
    result_.pairing_bound = pairs_.pairing_bound();
    result_.pairing_failure_probability = pairs_.failure_probability();
    int64_t k = result_.values.numel();
    result_.largest_count = options_.target == EigenTarget::smallest ? 0
                            : options_.target == EigenTarget::both   ? k / 2
                                                                     : k;
  }

  void conclude(Outcome outcome) {
    double worst = has_pairs() ? (pairs_.residuals().max() + pairs_.deviation).item<double>() : 0;
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

  void state_extreme_probability(const Lanczos& lanczos) {
    if (!has_pairs()) return;
    SpectrumEnds ends = ends_beyond_outermost(options_.target, lowest_ritz_, highest_ritz_, allowed());
    result_.extreme_failure_probability =
        lanczos.exhausted() ? 0 : ends.escape_probability(A_.cols(), lanczos.first_cycle());
  }

  // Beyond the innermost of those wanted, and the tolerance.
  SpectrumEnds ends() const { return ends_beyond_innermost(result_, allowed() + result_.noise); }

  std::vector<int64_t> missing() const {
    std::vector<int64_t> index;
    SpectrumEnds ends = this->ends();
    for (int64_t i : wanted_indices(options_.target, ritz_.value, count_))
      if (ends.leave_out(ritz_.value[i]) && std::find(index.begin(), index.end(), i) == index.end())
        index.push_back(i);
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
      double p = lanczos.exhausted()
                     ? 0
                     : ends().escape_probability(A_.cols() - result_.values.numel(), lanczos.first_cycle());
      bool last = p <= options_.failure_probability || result_.check_steps >= steps;
      if (!due(lanczos) && !last) continue;
      look(lanczos);
      missed = missing();
      if (missed.empty()) {
        if (last) return end_search(p);
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
    if (!adopt(verification_.include(pairs_, Y, scale_, count_))) {
      conclude(Outcome::non_finite);
      return false;
    }
    result_.found_by_check += static_cast<int64_t>(missed.size());
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
  VerifiedPairs pairs_;
  PairVerification verification_;
  int64_t before_, count_ = 0, wanted_ = 0, limit_ = 0, next_look_ = 0, converged_ = 0;
  double scale_ = 0;
  double lowest_ritz_ = std::numeric_limits<double>::infinity(), highest_ritz_ = -lowest_ritz_;
};

}  // namespace

EigenResult eigenpairs(const LinearOperator& A, const EigenOptions& options) {
  options.check();
  if (!A.symmetric()) fail_usage(fmt::format("eigenpairs: {} is not declared symmetric", A.name()));
  if (options.start.defined() &&
      (options.start.dim() != 2 || options.start.size(0) != A.domain().local_size()))
    fail_usage(fmt::format("eigenpairs: start is of shape [{}]; must be [{}, k]",
                           fmt::join(options.start.sizes().vec(), ", "), A.domain().local_size()));
  torch::NoGradGuard no_grad;
  return Eigensolver(A, options).run();
}

}  // namespace osculant
