#include "osculant/optim/directions/hessian_free.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "osculant/base/error.h"
#include "osculant/base/interrupt.h"
#include "osculant/base/text.h"
#include "osculant/curvature/curvature.h"
#include "osculant/io/archive.h"
#include "osculant/linop/operators.h"
#include "osculant/linop/vector_space.h"
#include "osculant/solve/conjugate_gradient.h"

namespace osculant {

void HessianFreeOptions::check() const {
  damping.check();
  preconditioner.check();
  require_at_least("cg_iterations", static_cast<double>(cg_iterations), 1);
  require_non_negative("cg_tolerance", cg_tolerance);
  require_between("momentum", momentum, 0, 1);
  require_positive("curvature_share", curvature_share);
  require_between("curvature_share", curvature_share, 0, 1);
  require_at_least("curvature_growth", curvature_growth, 1);
}

void visit(OptionVisitor& v, HessianFreeOptions& o) {
  v.choice<CurvatureMatrix>("curvature", o.curvature,
                            {{"auto", CurvatureMatrix::automatic},
                             {"gauss_newton", CurvatureMatrix::gauss_newton},
                             {"hessian", CurvatureMatrix::hessian}},
                            "the matrix B; hessian follows negative curvature; auto: gauss_newton where "
                            "there are outputs");
  visit(v, o.damping);
  v.integer("cg_iterations", o.cg_iterations, ">= 1", "conjugate gradient iterations a step, at most");
  v.number("cg_tolerance", o.cg_tolerance, ">= 0", "relative progress an iteration below which CG stops");
  v.number("momentum", o.momentum, "in [0, 1]", "CG starts at this times its last solution");
  v.flag("backtrack", o.backtrack,
         "backtrack over CG's iterates and along the step; false: accept by gain ratio");
  visit(v, o.preconditioner);
  v.number("curvature_share", o.curvature_share, "in (0, 1]",
           "of the batch, for products at the start; grows where that proves too few");
  v.number("curvature_growth", o.curvature_growth, ">= 1", "factor by which the share grows");
}

namespace {

class HessianFree : public Direction {
 public:
  HessianFree(const HessianFreeOptions& options, const Objective& objective)
      : options_(options), state_{options.curvature_share, {}, CgPreconditioner(options.preconditioner)} {
    hessian_ = options.curvature == CurvatureMatrix::hessian ||
               (options.curvature == CurvatureMatrix::automatic && !objective.has_outputs());
    if (!objective.has_outputs() && state_.preconditioner.needs_examples())
      fail_usage("preconditioner = diagonal, kfac, ekfac: is made of examples, and the objective has none");
    samples_ = options.curvature_share < 1 && objective.has_outputs();
  }

  // What curvature asks for comes with the part's linearization where there is a part.
  Needs needs() const override {
    Needs gradient{.gradient = true};
    return samples_ ? gradient : gradient | curvature_needs();
  }

  void prepare(const StepContext& context) override {
    before_ = state_;
    random_before_ = context.random.state();
    note_.clear();
    choose_examples(context);
    if (state_.preconditioner.due())
      note_ = state_.preconditioner.update(*matrix(here_), *here_, context.random);
  }

  Step propose(const StepContext& context, const Damping& damping) override {
    auto M = state_.preconditioner.inverse(damping.value());
    auto solution = conjugate_gradient(*shift(matrix(here_), damping.value()), -context.gradient,
                                       cg_options(state_.previous, M.get()));
    Step step;
    step.note = std::exchange(note_, "");
    step.solver_iterations = solution.iterations;
    step.solver_stop = solution.message;
    step.interrupted = solution.stop == CgStop::interrupted;
    if (step.interrupted) {
      state_ = *before_;
      context.random.set_state(random_before_);
      return step;
    }
    state_.preconditioner.solved(solution.iterations);
    if (solution.stop != CgStop::non_finite) state_.previous = solution.x;
    if (solution.stop == CgStop::negative_curvature && hessian_)
      follow(solution, context.gradient, damping.value(), step);
    else if (solution.stop != CgStop::negative_curvature || solution.iterations > 0)
      take(solution, context.gradient, damping.value(), step);
    if (others_ && step.displacement.defined()) judge_sample(step);
    return step;
  }

  Tensor step_for(const StepContext&, const Tensor& gradient, const Damping& damping) override {
    auto M = state_.preconditioner.inverse(damping.value());
    auto options = cg_options(Tensor(), M.get());
    options.keep_iterates = false;
    return conjugate_gradient(*shift(matrix(here_), damping.value()), -gradient, options).x;
  }

  void accepted(const StepOutcome&) override { release(false); }
  void rejected(const StepOutcome&) override { release(true); }

  void save(Archive& archive) const override {
    archive.put("share", state_.share);
    if (state_.previous.defined()) archive.put("previous", state_.previous);
    auto scope = archive.scope("preconditioner");
    state_.preconditioner.save(scope);
  }
  void load(const Archive& archive, const ParameterLayout& layout) override {
    state_.share = archive.number("share");
    state_.previous = archive.contains("previous") ? archive.tensor("previous", layout.theta()) : Tensor();
    state_.preconditioner.load(archive.scope("preconditioner"), layout);
  }

 private:
  using Examples = std::shared_ptr<Linearization>;

  Needs curvature_needs() const {
    return {
        .hessian = hessian_, .gauss_newton = !hessian_, .jacobian = state_.preconditioner.needs_gradients()};
  }

  void choose_examples(const StepContext& context) {
    others_.reset();
    if (!samples_) {
      here_ = Examples(std::shared_ptr<void>(), &context.linearization);
      return;
    }
    if (state_.share < 1) {
      auto split = context.samples.split(state_.share, curvature_needs());
      here_ = split.part;
      others_ = split.others;
    }
    if (!others_) here_ = context.samples.part(1, curvature_needs());
  }

  // B on these examples.
  OperatorPtr matrix(const Examples& examples) const {
    if (hessian_) return std::make_shared<Hessian>(examples);
    return std::make_shared<GaussNewton>(examples);
  }

  CgOptions cg_options(const Tensor& previous, const LinearOperator* preconditioner) const {
    auto options = CgOptions::martens(options_.cg_iterations);
    options.progress_tolerance = options_.cg_tolerance;
    options.keep_iterates = options_.backtrack;
    options.preconditioner = preconditioner;
    if (previous.defined() && options_.momentum > 0) options.initial_guess = previous * options_.momentum;
    options.progress = [](const CgProgress&) { return interrupt_signal() == 0; };
    return options;
  }

  // phi(x) = x'(B + lambda I)x / 2 + g'x as CG knows it; the model of the objective has no lambda.
  static void take(const CgResult& solution, const Tensor& g, double lambda, Step& step) {
    VectorSpace space(g.numel(), g.options());
    auto undamped = [&](const Tensor& x, double phi) {
      double norm = space.norm(x);
      return phi - lambda * norm * norm / 2;
    };
    for (const auto& iterate : solution.iterates)
      if (iterate.iteration < solution.iterations)
        step.earlier.push_back({iterate.x, undamped(iterate.x, iterate.phi)});
    step.displacement = solution.x;
    step.predicted_change = undamped(solution.x, solution.phi);
    step.slope = space.dot(g, solution.x);
  }

  // x + t d, t = r'd / (abs(d'Hd) + lambda). With (H + lambda I) x = -g - r,
  //   m(x + t d) = m(x) - t (r'd + lambda x'd) + t^2 d'Hd / 2.
  // From 0 along d or -d where CG started uphill and got no further than that.
  void follow(CgResult solution, const Tensor& g, double lambda, Step& step) {
    VectorSpace space(g.numel(), g.options());
    if (solution.phi > 0) {
      double slope = space.dot(g, solution.direction);
      if (slope > 0) solution.direction = -solution.direction;
      solution.descent = std::abs(slope);
      solution.x = at::zeros_like(g);
      solution.phi = 0;
      solution.iterates.clear();
    }
    take(solution, g, lambda, step);
    const Tensor& d = solution.direction;
    double curvature = solution.curvature - lambda;
    double length = solution.descent / (lambda - curvature);
    step.predicted_change -= length * (solution.descent + lambda * space.dot(solution.x, d));
    step.predicted_change += length * length * curvature / 2;
    step.displacement = solution.x + length * d;
    step.slope = space.dot(g, step.displacement);
    step.note +=
        fmt::format("{}negative curvature {}", step.note.empty() ? "" : "; ", format_number(curvature));
    state_.previous = Tensor();  // of an indefinite system: no place to start from
  }

  // q'(p) - q(p) = p'(B' - B)p / 2; p'B p from the step's slope and predicted change.
  void judge_sample(const Step& step) {
    const Tensor& p = step.displacement;
    VectorSpace space(p.numel(), p.options());
    double own = 2 * (step.predicted_change - step.slope);
    double other = space.dot(p, matrix(others_)->apply(p));
    too_small_ = (other - own) / 2 > 0.5 * std::abs(step.predicted_change);
  }

  void release(bool refused) {
    if (others_ && (refused || std::exchange(too_small_, false)))
      state_.share = std::min(1.0, state_.share * options_.curvature_growth);
    here_.reset();
    others_.reset();
    before_.reset();
  }

  // What goes on from step to step.
  struct State {
    double share;     // of the batch, for curvature
    Tensor previous;  // the last solution, where the next solve starts
    CgPreconditioner preconditioner;
  };

  HessianFreeOptions options_;
  bool hessian_ = false;
  bool samples_ = false;  // curvature is that of examples chosen for it
  State state_;
  std::optional<State> before_;  // this step
  Tensor random_before_;
  Examples here_, others_;  // of this step: B's, and those it is judged by
  bool too_small_ = false;
  std::string note_;
};

}  // namespace

std::unique_ptr<Direction> hessian_free_direction(const HessianFreeOptions& options,
                                                  const Objective& objective) {
  options.check();
  return std::make_unique<HessianFree>(options, objective);
}

}  // namespace osculant
