#include "osculant/optim/directions/inverse_correction.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <utility>

#include "osculant/base/error.h"
#include "osculant/base/interrupt.h"
#include "osculant/curvature/curvature.h"
#include "osculant/io/archive.h"
#include "osculant/linop/vector_space.h"
#include "osculant/spectrum/eigenpairs.h"

namespace osculant {

namespace {

constexpr int64_t dense_limit = 500;
constexpr int64_t largest_dense = 5000;
constexpr int64_t usual_rank = 20;

}  // namespace

void InverseCorrectionOptions::check() const {
  require_positive("learning_rate", learning_rate);
  require_non_negative("epsilon", epsilon);
  require_at_least("rank", static_cast<double>(rank), -1);
  require_non_negative("refresh", static_cast<double>(refresh));
  require_between("cutoff", cutoff, 0, 1);
}

void visit(OptionVisitor& v, InverseCorrectionOptions& o) {
  v.number("learning_rate", o.learning_rate, "> 0", "eta");
  v.number("epsilon", o.epsilon, ">= 0", "eps, added to the inverse in every direction");
  v.choice<CurvatureMode>("curvature", o.curvature,
                          {{"signed", CurvatureMode::signed_values},
                           {"absolute", CurvatureMode::absolute},
                           {"positive", CurvatureMode::positive}},
                          "inverts l (climbs where it is negative), abs(l), or positive l alone");
  v.integer("rank", o.rank, ">= 1", "eigenpairs kept; auto: full for n <= 500, else 20",
            {{"auto", automatic_rank}, {"full", full_rank}});
  v.integer("refresh", o.refresh, ">= 0", "steps between factorisations; 0: 1 at full rank, else 10");
  v.number("cutoff", o.cutoff, "in [0, 1]",
           "eigenvalues below this share of the largest are not inverted; 0: rounding");
  v.flag("line_search", o.line_search,
         "shorten eta until the loss falls enough, reject the step if it never does");
}

int64_t resolved_rank(const InverseCorrectionOptions& options, int64_t n) {
  if (options.rank == full_rank) return n;
  if (options.rank == automatic_rank) return n <= dense_limit ? n : usual_rank;
  return std::min(options.rank, n);
}

namespace {

class InverseCorrection : public Direction {
 public:
  InverseCorrection(const InverseCorrectionOptions& options, int64_t n)
      : options_(options), rank_(resolved_rank(options, n)), dense_(rank_ == n) {
    refresh_ = options.refresh > 0 ? options.refresh : dense_ ? 1 : 10;
    age_ = refresh_;
    if (dense_ && n > largest_dense)
      fail(ErrorKind::memory,
           fmt::format(
               "rank = full: the Hessian of {} parameters would be a dense {} x {} matrix, the most is "
               "{}; choose a rank, 20 say",
               n, n, n, largest_dense));
  }

  Needs needs() const override { return {.gradient = true, .hessian = age_ >= refresh_}; }

  void prepare(const StepContext& context) override {
    interrupted_ = false;
    if (context.linearization.needs().hessian) factorise(context);
    if (!interrupted_) ++age_;
  }

  Step propose(const StepContext& context, const Damping&) override {
    const Tensor& g = context.gradient;
    Step step;
    step.note = note_;
    step.interrupted = interrupted_;
    step.solver_iterations = std::exchange(products_, 0);
    if (interrupted_ || !vectors_.defined()) return step;
    // p = -(V f V'g + eps g), f = 1/l, 1/abs(l) or 0.
    Tensor projected = vectors_.t().matmul(g.to(vectors_.scalar_type()));
    Tensor p = vectors_.matmul(inverse_ * projected) + options_.epsilon * g.to(vectors_.scalar_type());
    step.displacement = -p.to(g.scalar_type());
    return step;
  }

  void save(Archive& archive) const override {
    archive.put("age", age_);
    if (!vectors_.defined() || age_ >= refresh_) return;
    archive.put("vectors", vectors_);
    archive.put("inverse", inverse_);
  }

  void load(const Archive& archive, const ParameterLayout& layout) override {
    age_ = archive.integer("age");
    if (!archive.contains("vectors")) return;
    vectors_ = archive.tensor("vectors").to(layout.device());
    inverse_ = archive.tensor("inverse").to(layout.device());
  }

 private:
  void factorise(const StepContext& context) {
    std::shared_ptr<Linearization> borrowed(std::shared_ptr<void>(), &context.linearization);
    Hessian hessian(borrowed);
    note_.clear();
    if (dense_)
      factorise_dense(hessian);
    else
      factorise_krylov(hessian, context.random);
    products_ = hessian.products();
  }

  void factorise_dense(const Hessian& hessian) {
    Tensor H = dense(hessian, largest_dense).matrix.to(at::kDouble);
    if (!at::isfinite(H).all().item<bool>()) return fail_with("the Hessian is not finite");
    try {
      auto [values, vectors] = at::linalg_eigh(H);
      double n = static_cast<double>(H.size(0));
      keep(values, vectors, n * hessian.domain().epsilon(), at::zeros_like(values));
    } catch (const c10::LinAlgError& error) {
      fail_with("the eigendecomposition of the Hessian did not converge");
    }
  }

  void factorise_krylov(const Hessian& hessian, RandomStream& random) {
    EigenOptions eigen;
    eigen.count = rank_;
    eigen.target =
        options_.curvature == CurvatureMode::positive ? EigenTarget::largest : EigenTarget::dominant;
    eigen.tolerance = 1e-2;
    eigen.verify = false;
    eigen.check_products = 0;
    Tensor before = random.state();
    eigen.seed = static_cast<uint64_t>(random.integers(int64_t{1} << 62, {1}).item<int64_t>());
    eigen.progress = [](const EigenProgress&) { return interrupt_signal() == 0; };
    auto found = eigenpairs(hessian, eigen);
    interrupted_ = found.stop == EigenStop::interrupted;
    if (interrupted_) return random.set_state(before);
    if (found.stop == EigenStop::non_finite || found.values.numel() == 0)
      return fail_with("Lanczos found no eigenpairs: " + found.message);
    if (!found.converged()) note_ = "Lanczos: " + found.message;
    const auto& V = found.vectors;
    keep(found.values.to(V.device()), V, 10 * hessian.domain().epsilon(), found.residuals.to(V.device()));
  }

  // f of every eigenvalue; those that do not exceed tau by their residual are left to eps.
  void keep(const Tensor& values, const Tensor& vectors, double rounding, const Tensor& residuals) {
    double relative = options_.cutoff > 0 ? options_.cutoff : rounding;
    Tensor magnitude = values.abs(), tau = relative * magnitude.max();
    Tensor kept = magnitude - residuals > tau;
    if (options_.curvature == CurvatureMode::positive) kept = kept.logical_and(values > 0);
    Tensor l = options_.curvature == CurvatureMode::signed_values ? values : magnitude;
    inverse_ = at::where(kept, l.reciprocal(), at::zeros_like(l)).to(vectors.scalar_type());
    vectors_ = vectors;
    age_ = 0;
  }

  // The last basis, if there is one, serves once more.
  void fail_with(std::string why) { note_ = std::move(why); }

  InverseCorrectionOptions options_;
  int64_t rank_;
  bool dense_;
  int64_t refresh_ = 1;
  int64_t age_ = 0;  // steps since the factorisation
  Tensor vectors_;   // V [n, k]
  Tensor inverse_;   // f(l) [k]
  std::string note_;
  bool interrupted_ = false;
  int64_t products_ = 0;
};

}  // namespace

std::unique_ptr<Direction> inverse_correction_direction(const InverseCorrectionOptions& options, int64_t n) {
  options.check();
  return std::make_unique<InverseCorrection>(options, n);
}

}  // namespace osculant
