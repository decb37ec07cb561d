#include "osculant/optim/directions/inverse_correction.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "osculant/base/cost.h"
#include "osculant/base/error.h"
#include "osculant/io/archive.h"
#include "osculant/linop/vector_space.h"
#include "osculant/optim/subspace_model.h"

namespace osculant {

namespace {

constexpr int64_t dense_limit = 500;
constexpr int64_t usual_rank = 20;
constexpr double usual_epsilon = 0.01;

}  // namespace

void InverseCorrectionOptions::check() const {
  if (learning_rate) require_positive("learning_rate", *learning_rate);
  if (epsilon) require_non_negative("epsilon", *epsilon);
  require_at_least("rank", static_cast<double>(rank), -1);
  require_non_negative("refresh", static_cast<double>(refresh));
  require_positive("curvature_share", curvature_share);
  require_between("cutoff", cutoff, 0, 1);
  damping.check();
  require_between("beta1", beta1, 0, 1);
  require_between("beta2", beta2, 0, 1);
  require_non_negative("adam_epsilon", adam_epsilon);
  if (line_search && !learning_rate)
    fail_usage(
        "line_search = true: needs a learning_rate to shorten; without one the quadratic model gives it");
}

void visit(OptionVisitor& v, InverseCorrectionOptions& o) {
  v.number("learning_rate", o.learning_rate, "> 0", "eta; auto: in closed form, each step");
  v.number(
      "epsilon", o.epsilon, ">= 0",
      "eps, added to the inverse in every direction; auto: 0.01 beside a given eta, else in closed form");
  v.choice<CurvatureMode>("curvature", o.curvature,
                          {{"signed", CurvatureMode::signed_values},
                           {"absolute", CurvatureMode::absolute},
                           {"positive", CurvatureMode::positive}},
                          "inverts l (climbs where it is negative), abs(l), or positive l alone");
  v.choice<Complement>("complement", o.complement,
                       {{"none", Complement::none},
                        {"sgd", Complement::sgd},
                        {"adam", Complement::adam},
                        {"rmsprop", Complement::rmsprop}},
                       "what is done off the eigenvectors kept; none: eps g everywhere");
  v.choice<CurvatureMatrix>("matrix", o.matrix,
                            {{"auto", CurvatureMatrix::automatic},
                             {"hessian", CurvatureMatrix::hessian},
                             {"gauss_newton", CurvatureMatrix::gauss_newton}},
                            "whose eigenpairs; auto: hessian beside a given eta, else gauss_newton");
  v.integer("rank", o.rank, ">= 1", "eigenpairs kept; auto: full for n <= 500, else 20",
            {{"auto", automatic_rank}, {"full", full_rank}});
  v.choice<LowRankMethod>("method", o.method,
                          {{"svd", LowRankMethod::svd},
                           {"qr", LowRankMethod::qr},
                           {"randomized_svd", LowRankMethod::randomized_svd},
                           {"randomized_qr", LowRankMethod::randomized_qr},
                           {"nystrom", LowRankMethod::nystrom},
                           {"indefinite_nystrom", LowRankMethod::indefinite_nystrom},
                           {"lanczos", LowRankMethod::lanczos}},
                          "how they are found below full rank");
  v.flag("warm_start", o.warm_start, "after the first time by one step of subspace iteration");
  v.integer("refresh", o.refresh, ">= 0",
            "steps between factorisations; 0: 1 at full rank, else as curvature_share allows");
  v.number("curvature_share", o.curvature_share, "> 0",
           "what later factorisations may cost, as a share of the rest of the step's work");
  v.number("cutoff", o.cutoff, "in [0, 1]",
           "eigenvalues below this share of the largest are not inverted; 0: rounding");
  v.flag("line_search", o.line_search,
         "shorten a given eta until the loss falls enough, else reject the step");
  v.flag("momentum", o.momentum, "eta in closed form: the last step is a third direction");
  v.flag("fresh_batch", o.fresh_batch, "eta in closed form: the model is that of other examples");
  visit(v, o.damping);
  v.number("beta1", o.beta1, "in [0, 1]", "decay of the mean of gradients (adam)");
  v.number("beta2", o.beta2, "in [0, 1]", "decay of the mean of their squares (adam, rmsprop)");
  v.number("adam_epsilon", o.adam_epsilon, ">= 0", "added to the root of the mean square");
}

int64_t resolved_rank(const InverseCorrectionOptions& options, int64_t n) {
  if (options.rank == full_rank) return n;
  if (options.rank == automatic_rank) return n <= dense_limit ? n : usual_rank;
  return std::min(options.rank, n);
}

namespace {

CurvatureBasisOptions basis_options(const InverseCorrectionOptions& options, const Objective& objective) {
  CurvatureBasisOptions basis;
  basis.matrix = options.matrix;
  if (basis.matrix == CurvatureMatrix::automatic)
    basis.matrix = options.learning_rate || !objective.has_outputs() ? CurvatureMatrix::hessian
                                                                     : CurvatureMatrix::gauss_newton;
  basis.rank = resolved_rank(options, objective.parameters());
  basis.method = options.method;
  basis.positive = options.curvature == CurvatureMode::positive;
  basis.warm = options.warm_start;
  return basis;
}

class InverseCorrection : public Direction {
 public:
  InverseCorrection(const InverseCorrectionOptions& options, const Objective& objective)
      : options_(options),
        closed_form_(!options.learning_rate),
        basis_(basis_options(options, objective), objective.parameters()),
        refresh_(interval(objective)),
        age_(refresh_) {}

  Needs needs() const override {
    return closed_form_ || age_ >= refresh_ ? basis_.needs() : Needs{.gradient = true};
  }

  void prepare(const StepContext& context) override {
    update_ = {};
    if (age_ >= refresh_) {
      update_ = basis_.update(context);
      if (!update_.interrupted) age_ = 0;
    }
    if (update_.interrupted) return;
    ++age_;
    update_moments(context.gradient);
  }

  Step propose(const StepContext& context, const Damping& damping) override {
    Step step;
    step.note = update_.note;
    step.interrupted = update_.interrupted;
    step.solver_iterations = std::exchange(update_.products, 0);
    if (step.interrupted || basis_.empty()) return step;
    if (closed_form_) return closed_form(context, damping, std::move(step));
    double epsilon = options_.epsilon.value_or(usual_epsilon);
    step.displacement = inverse_part(0) + epsilon * complement_part();
    return step;
  }

  void accepted(const StepOutcome& outcome) override {
    if (closed_form_ && options_.momentum) last_step_ = outcome.displacement;
  }

  void save(Archive& archive) const override {
    archive.put("age", age_);
    archive.put("moments", moments_);
    basis_.save(archive);
    for (auto [name, tensor] : state())
      if (tensor->defined()) archive.put(name, tensor->clone());
  }

  void load(const Archive& archive, const ParameterLayout& layout) override {
    age_ = archive.integer("age");
    moments_ = archive.integer("moments");
    basis_.load(archive, layout);
    for (auto [name, tensor] : const_cast<const InverseCorrection*>(this)->state())
      *const_cast<Tensor*>(tensor) =
          archive.contains(name) ? archive.tensor(name, layout.theta()).clone() : Tensor();
  }

 private:
  std::vector<std::pair<const char*, const Tensor*>> state() const {
    return {{"mean", &mean_}, {"mean_square", &mean_square_}, {"last_step", &last_step_}};
  }

  // Steps between factorisations: k products / T <= share (gradient + three products of the model).
  int64_t interval(const Objective& objective) const {
    if (options_.refresh > 0) return options_.refresh;
    if (basis_.exact()) return 1;
    bool hessian = basis_.needs().hessian;
    double product = hessian ? Price::hessian_product : Price::gauss_newton_product;
    double rest = Price::gradient + (closed_form_ ? 3 * product : 0);
    double rank = static_cast<double>(resolved_rank(options_, objective.parameters()));
    return std::max<int64_t>(
        1, static_cast<int64_t>(std::ceil(rank * product / (options_.curvature_share * rest))));
  }

  // m and the root of the mean square, both corrected for their start at 0 (Kingma & Ba 2015, algorithm 1).
  void update_moments(const Tensor& g) {
    followed_ = g;
    if (options_.complement != Complement::adam && options_.complement != Complement::rmsprop) return;
    if (!mean_square_.defined()) {
      mean_square_ = at::zeros_like(g);
      if (options_.complement == Complement::adam) mean_ = at::zeros_like(g);
    }
    ++moments_;
    mean_square_.mul_(options_.beta2).addcmul_(g, g, 1 - options_.beta2);
    if (!mean_.defined()) return;
    mean_.mul_(options_.beta1).add_(g, 1 - options_.beta1);
    followed_ = mean_ / (1 - std::pow(options_.beta1, static_cast<double>(moments_)));
  }

  Tensor preconditioned(const Tensor& x) const {
    if (!mean_square_.defined()) return x;
    double correction = 1 - std::pow(options_.beta2, static_cast<double>(moments_));
    return x / ((mean_square_ / correction).sqrt_().add_(options_.adam_epsilon));
  }

  // f(l): 1/l, 1/abs(l), or 0 for those that do not exceed tau by their residual and are left to eps.
  Tensor inverse_values(double delta) const {
    const Tensor& values = basis_.values();
    double n = static_cast<double>(followed_.numel());
    double u = VectorSpace(1, followed_.options()).epsilon();
    double relative = options_.cutoff > 0 ? options_.cutoff : (basis_.exact() ? n : 10) * u;
    Tensor magnitude = values.abs(), tau = relative * magnitude.max();
    Tensor kept = magnitude - basis_.residuals() > tau;
    if (options_.curvature == CurvatureMode::positive) kept = kept.logical_and(values > 0);
    Tensor l = options_.curvature == CurvatureMode::signed_values ? values : magnitude;
    return at::where(kept, (l + delta * l.sign()).reciprocal(), at::zeros_like(l));
  }

  Tensor project(const Tensor& x) const {
    return basis_.vectors().t().matmul(x.to(basis_.vectors().scalar_type()));
  }
  Tensor expand(const Tensor& c) const { return basis_.vectors().matmul(c).to(followed_.scalar_type()); }

  // p1 = -V f(l) V'm.
  Tensor inverse_part(double delta) const {
    Tensor f = inverse_values(delta).to(basis_.vectors().options());
    return -expand(f * project(followed_));
  }

  // p2 = -m, or -Q D^-1 Q m.
  Tensor complement_part() const {
    if (options_.complement == Complement::none) return -followed_;
    auto off = [&](const Tensor& x) { return x - expand(project(x)); };
    return -off(preconditioned(off(followed_)));
  }

  Step closed_form(const StepContext& context, const Damping& damping, Step step) const {
    std::vector<SubspaceColumn> columns;
    double delta = damping.value();
    if (options_.epsilon) {
      columns.push_back({inverse_part(delta) + *options_.epsilon * complement_part(), true});
    } else {
      columns.push_back({inverse_part(delta), true});
      columns.push_back({complement_part(), true});
    }
    if (last_step_.defined()) columns.push_back({last_step_});
    Tensor P = SubspaceModel::stack(columns);
    std::shared_ptr<Linearization> fresh;
    if (options_.fresh_batch) fresh = context.samples.fresh(basis_.needs());
    Tensor BP = basis_.product(fresh ? *fresh : context.linearization, P);
    auto best = SubspaceModel(std::move(columns), context.linearization.gradient(), BP).minimize(delta);
    step.displacement = best.displacement;
    step.slope = best.slope;
    step.predicted_change = best.predicted_change;
    return step;
  }

  InverseCorrectionOptions options_;
  bool closed_form_;
  CurvatureBasis basis_;
  int64_t refresh_;
  int64_t age_;  // steps since the factorisation
  CurvatureBasis::Update update_;
  int64_t moments_ = 0;        // gradients in the moments
  Tensor mean_, mean_square_;  // [n]
  Tensor last_step_;           // [n]
  Tensor followed_;            // g, or m
};

}  // namespace

std::unique_ptr<Direction> inverse_correction_direction(const InverseCorrectionOptions& options,
                                                        const Objective& objective) {
  options.check();
  return std::make_unique<InverseCorrection>(options, objective);
}

}  // namespace osculant
