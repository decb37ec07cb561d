#include "osculant/optim/directions/shampoo.h"

#include <ATen/ATen.h>

#include <cmath>
#include <string>
#include <vector>

#include "osculant/base/error.h"
#include "osculant/io/archive.h"
#include "osculant/optim/directions/layer_matrices.h"
#include "osculant/optim/directions/matrix_statistics.h"

namespace osculant {

void ShampooOptions::check() const {
  require_positive("learning_rate", learning_rate);
  require_between("beta1", beta1, 0, 1 - 1e-12);
  require_between("beta2", beta2, 0, 1 - 1e-12);
  require_positive("ridge", ridge);
  require_positive("epsilon", epsilon);
  require_non_negative("weight_decay", weight_decay);
  require_at_least("interval", static_cast<double>(interval), 1);
  require_at_least("max_dimension", static_cast<double>(max_dimension), 1);
}

void visit(OptionVisitor& v, ShampooOptions& o) {
  v.number("learning_rate", o.learning_rate, "> 0", "step length");
  v.number("beta1", o.beta1, "in [0, 1)", "decay of the mean of gradients");
  v.number("beta2", o.beta2, "in [0, 1)", "decay of the means of G G' and G'G, and of squares for the graft");
  v.number("ridge", o.ridge, "> 0", "added to their eigenvalues, as a share of the largest");
  v.choice<Graft>("graft", o.graft, {{"none", Graft::none}, {"sgd", Graft::sgd}, {"adam", Graft::adam}},
                  "a layer's step is as long as this method's");
  v.number("epsilon", o.epsilon, "> 0", "graft = adam: added to the root of the mean square");
  v.number("weight_decay", o.weight_decay, ">= 0", "shrinks theta by learning_rate times this a step");
  v.integer("interval", o.interval, ">= 1", "steps between refreshes of the inverse roots");
  v.integer("max_dimension", o.max_dimension, ">= 1",
            "a larger side of a matrix keeps the identity in place of its root");
}

namespace {

constexpr double tiny = 1e-30;

// (F + ridge l_max I)^power of F's lower triangle; undefined where the eigenvalues cannot be had.
Tensor matrix_power(const Tensor& F, double ridge, double power) {
  auto found = symmetric_eigenpairs(F);
  if (!found) return {};
  Tensor l = found->values.clamp_min(0);
  l = (l + ridge * l.amax(-1, /*keepdim=*/true)).clamp_min(tiny);
  return (found->vectors * l.pow(power).unsqueeze(-2)).matmul(found->vectors.mT());
}

int sides(const TwoSidedGroup& p) {
  return int(p.left.factor.defined()) + int(p.right.factor.defined());
}

Tensor norms(const Tensor& X) {
  return at::linalg_vector_norm(X, 2, {1, 2}, /*keepdim=*/true);
}

class Shampoo : public Direction {
 public:
  explicit Shampoo(const ShampooOptions& options) : options_(options) {}

  Needs needs() const override { return {.gradient = true}; }

  void prepare(const StepContext& context) override {
    const auto& layout = context.linearization.objective().layout();
    const Tensor& g = context.gradient;
    start(layout);
    step_ = {};
    auto t = static_cast<double>(++steps_);
    mean_.lerp_(g, 1 - options_.beta1);
    for (auto& p : preconditioned_) p.update_factors(g, options_.beta2, 1 - options_.beta2, g.scalar_type());
    if ((steps_ - 1) % options_.interval == 0)
      for (auto& p : preconditioned_) refresh(p, 1 - std::pow(options_.beta2, t));

    Tensor mean = mean_ / (1 - std::pow(options_.beta1, t));
    Tensor grafted = options_.graft == Graft::adam ? adam_step(g, mean, t) : mean;
    Tensor displacement = grafted.clone();
    for (const auto& p : preconditioned_)
      if (sides(p) > 0) p.group.put(displacement, matrix_step(p, mean, grafted));
    if (options_.weight_decay > 0) displacement.add_(layout.theta(), options_.weight_decay);
    step_.displacement = displacement.mul_(-options_.learning_rate);
  }

  Step propose(const StepContext&, const Damping&) override { return step_; }

  void save(Archive& archive) const override {
    if (steps_ == 0) return;
    archive.put("mean", mean_.clone());
    archive.put("square", square_.clone());
    archive.put("steps", steps_);
    save_sides(archive, preconditioned_, "root");
  }

  void load(const Archive& archive, const ParameterLayout& layout) override {
    if (!archive.contains("mean")) return;
    start(layout);
    mean_ = archive.tensor("mean", mean_).clone();
    square_ = archive.tensor("square", square_).clone();
    steps_ = archive.integer("steps");
    load_sides(archive, preconditioned_, "root");
  }

 private:
  void start(const ParameterLayout& layout) {
    if (mean_.defined()) return;
    LayerMatrices layers(layout, [](const Parameter&, int64_t, int64_t) { return true; });
    mean_ = at::zeros({layout.size()}, layout.options());
    square_ = at::zeros_like(mean_);
    preconditioned_ = two_sided(layers.groups(), layout.options(),
                                [&](int64_t d) { return d > 1 && d <= options_.max_dimension; });
  }

  // Of the corrected mean, to the power -1/2 or, with two sides, -1/4.
  void refresh(TwoSidedGroup& p, double correction) {
    for (auto* side : {&p.left, &p.right}) {
      if (!side->factor.defined()) continue;
      Tensor root = matrix_power(side->factor / correction, options_.ridge, -0.5 / sides(p));
      if (root.defined())
        side->transform = root;
      else
        step_.note = "eigh failed, the last inverse root is kept";
    }
  }

  Tensor adam_step(const Tensor& g, const Tensor& mean, double t) {
    square_.mul_(options_.beta2).addcmul_(g, g, 1 - options_.beta2);
    return mean / (square_ / (1 - std::pow(options_.beta2, t))).sqrt_().add_(options_.epsilon);
  }

  // P = L^-1/4 M R^-1/4, or P norm(grafted) / norm(P)
  Tensor matrix_step(const TwoSidedGroup& p, const Tensor& mean, const Tensor& grafted) const {
    Tensor P = p.group.of(mean);
    if (p.left.transform.defined()) P = p.left.transform.matmul(P);
    if (p.right.transform.defined()) P = P.matmul(p.right.transform);
    if (options_.graft == Graft::none) return P;
    return P * (norms(p.group.of(grafted)) / norms(P).clamp_min(tiny));
  }

  ShampooOptions options_;
  std::vector<TwoSidedGroup> preconditioned_;
  Tensor mean_, square_;  // [n]
  int64_t steps_ = 0;
  Step step_;
};

}  // namespace

std::unique_ptr<Direction> shampoo_direction(const ShampooOptions& options) {
  return std::make_unique<Shampoo>(options);
}

}  // namespace osculant
