#include "osculant/optim/directions/muon.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "osculant/base/error.h"
#include "osculant/io/archive.h"
#include "osculant/optim/directions/layer_matrices.h"

namespace osculant {

void MuonOptions::check() const {
  require_positive("learning_rate", learning_rate);
  require_between("momentum", momentum, 0, 1 - 1e-12);
  require_non_negative("weight_decay", weight_decay);
  require_between("newton_schulz_steps", static_cast<double>(newton_schulz_steps), 1, 100);
  require_at_least("max_dimension", static_cast<double>(max_dimension), 1);
  if (adam_learning_rate) require_positive("adam_learning_rate", *adam_learning_rate);
  require_between("adam_beta1", adam_beta1, 0, 1 - 1e-12);
  require_between("adam_beta2", adam_beta2, 0, 1 - 1e-12);
  require_non_negative("adam_epsilon", adam_epsilon);
  require_non_negative("adam_weight_decay", adam_weight_decay);
}

void visit(OptionVisitor& v, MuonOptions& o) {
  v.number("learning_rate", o.learning_rate, "> 0", "step length, of matrices");
  v.number("momentum", o.momentum, "in [0, 1)", "decay of the mean of gradients");
  v.flag("nesterov", o.nesterov, "Nesterov's form of momentum");
  v.number("weight_decay", o.weight_decay, ">= 0", "shrinks matrices by learning_rate times this a step");
  v.integer("newton_schulz_steps", o.newton_schulz_steps, "in [1, 100]",
            "of the iteration that makes the singular values equal");
  v.choice<MuonScale>(
      "scale", o.scale, {{"original", MuonScale::original}, {"match_rms_adamw", MuonScale::match_rms_adamw}},
      "of a step: sqrt(max(1, rows/columns)), or 0.2 sqrt(max(rows, columns)), as long as AdamW's");
  visit_precision(v, o.precision, "of that iteration; auto: bfloat16 for float32 where the device has it");
  v.integer("max_dimension", o.max_dimension, ">= 1", "matrices with a larger one are left to AdamW");
  v.number("adam_learning_rate", o.adam_learning_rate, "> 0",
           "of AdamW; auto: 0.015 learning_rate, with match_rms_adamw the same");
  v.number("adam_beta1", o.adam_beta1, "in [0, 1)", "AdamW: decay of the mean of gradients");
  v.number("adam_beta2", o.adam_beta2, "in [0, 1)", "AdamW: decay of the mean of their squares");
  v.number("adam_epsilon", o.adam_epsilon, ">= 0", "AdamW: added to the root of the mean square");
  v.number("adam_weight_decay", o.adam_weight_decay, ">= 0",
           "AdamW: shrinks theta by adam_learning_rate times this a step");
}

namespace {

// The quintic's coefficients: the largest slope at 0 that keeps what has grown near 1 (Jordan et al. 2024).
constexpr double a = 3.4445, b = -4.7750, c = 2.0315;
constexpr double least_norm = 1e-7;

// beta C + alpha A B of matrices or of batches of them.
Tensor multiply_add(const Tensor& C, double beta, const Tensor& A, const Tensor& B, double alpha = 1) {
  return A.dim() == 2 ? at::addmm(C, A, B, beta, alpha) : at::baddbmm(C, A, B, beta, alpha);
}

Tensor newton_schulz(Tensor X, int64_t steps) {
  for (int64_t i = 0; i < steps; ++i) {
    Tensor A = X.matmul(X.mT());
    X = multiply_add(X, a, multiply_add(A, b, A, A, c), X);
  }
  return X;
}

// The same for wide X by the Gram matrix: with P = a I + b A + c A^2, A = XX', X <- P X is A <- P A P, and
// the product of the P's is applied to X. In bfloat16 A is made anew from X after three steps: rounding gives
// it negative eigenvalues, which each step enlarges by a^2.
Tensor newton_schulz_by_gram(Tensor X, int64_t steps) {
  int64_t at_a_time = X.scalar_type() == at::kBFloat16 ? 3 : steps;
  for (int64_t done = 0; done < steps; done += at_a_time) {
    int64_t block = std::min(at_a_time, steps - done);
    Tensor A = X.matmul(X.mT()), Q;
    for (int64_t i = 1; i <= block; ++i) {
      Tensor P = multiply_add(A, b, A, A, c);
      P.diagonal(0, -2, -1).add_(a);
      Q = Q.defined() ? P.matmul(Q) : P;
      if (i < block) A = P.matmul(A).matmul(P);
    }
    X = Q.matmul(X);
  }
  return X;
}

}  // namespace

Tensor orthogonalized(const Tensor& M, int64_t steps, bool bfloat16) {
  bool tall = M.size(1) > M.size(2);
  Tensor X = tall ? M.mT() : M;
  if (X.size(0) == 1) X = X.squeeze(0);
  X = X / at::linalg_vector_norm(X, 2, {-2, -1}, /*keepdim=*/true).clamp_min(least_norm);
  if (bfloat16) X = X.to(at::kBFloat16);
  // Multiplications of [m, n] in five steps: 10 m^2 n + 5 m^3 against 2 m^2 n + 17 m^3, or 4 m^2 n + 14 m^3.
  bool by_gram = 2 * X.size(-1) > 3 * X.size(-2);
  X = by_gram ? newton_schulz_by_gram(X, steps) : newton_schulz(X, steps);
  if (tall) X = X.mT();
  return (X.dim() == 2 ? X.unsqueeze(0) : X).to(M.scalar_type());
}

namespace {

class Muon : public Direction {
 public:
  explicit Muon(const MuonOptions& options) : options_(options) {}

  Needs needs() const override { return {.gradient = true}; }

  void prepare(const StepContext& context) override {
    const auto& layout = context.linearization.objective().layout();
    const Tensor& g = context.gradient;
    start(layout);
    momentum_.lerp_(g, 1 - options_.momentum);
    Tensor update = options_.nesterov ? g.lerp(momentum_, options_.momentum) : momentum_;
    displacement_ = at::empty_like(g);
    for (const auto& group : layers_->groups()) step_matrices(group, update, layout.theta());
    if (layers_->rest() > 0) step_rest(g, layout.theta());
  }

  Step propose(const StepContext&, const Damping&) override {
    Step step;
    step.displacement = displacement_;
    return step;
  }

  void save(Archive& archive) const override {
    if (!layers_) return;
    archive.put("momentum", momentum_.clone());
    archive.put("mean", mean_.clone());
    archive.put("square", square_.clone());
    archive.put("steps", steps_);
  }

  void load(const Archive& archive, const ParameterLayout& layout) override {
    if (!archive.contains("momentum")) return;
    start(layout);
    momentum_ = archive.tensor("momentum", momentum_).clone();
    mean_ = archive.tensor("mean", mean_).clone();
    square_ = archive.tensor("square", square_).clone();
    steps_ = archive.integer("steps");
  }

 private:
  void start(const ParameterLayout& layout) {
    if (layers_) return;
    layers_.emplace(layout, [this](const Parameter& p, int64_t rows, int64_t columns) {
      return p.shape.size() > 1 && std::max(rows, columns) <= options_.max_dimension;
    });
    momentum_ = at::zeros({layout.size()}, layout.options());
    mean_ = at::zeros({layers_->rest()}, layout.options());
    square_ = at::zeros_like(mean_);
    reduced_ = in_bfloat16(options_.precision, layout);
  }

  // X <- (1 - eta w) X - eta s orthogonalized(update)
  void step_matrices(const MatrixGroup& group, const Tensor& update, const Tensor& theta) {
    auto rows = static_cast<double>(group.rows()), columns = static_cast<double>(group.columns());
    double scale = options_.scale == MuonScale::original ? std::sqrt(std::max(1.0, rows / columns))
                                                         : 0.2 * std::sqrt(std::max(rows, columns));
    double eta = options_.learning_rate;
    bool reduced = reduced_ && std::min(group.rows(), group.columns()) >= worth_bfloat16;
    Tensor X = orthogonalized(group.of(update), options_.newton_schulz_steps, reduced);
    Tensor step = X.mul_(-eta * scale);
    if (options_.weight_decay > 0) step.add_(group.of(theta), -eta * options_.weight_decay);
    group.put(displacement_, step);
  }

  // AdamW, torch's.
  void step_rest(const Tensor& gradient, const Tensor& theta) {
    double beta1 = options_.adam_beta1, beta2 = options_.adam_beta2, eta = adam_learning_rate();
    auto t = static_cast<double>(++steps_);
    Tensor g = layers_->rest_of(gradient);
    mean_.lerp_(g, 1 - beta1);
    square_.mul_(beta2).addcmul_(g, g, 1 - beta2);
    Tensor root = square_.sqrt().div_(std::sqrt(1 - std::pow(beta2, t))).add_(options_.adam_epsilon);
    Tensor step = mean_.div(root).mul_(-eta / (1 - std::pow(beta1, t)));
    if (options_.adam_weight_decay > 0) step.add_(layers_->rest_of(theta), -eta * options_.adam_weight_decay);
    layers_->put_rest(displacement_, step);
  }

  double adam_learning_rate() const {
    if (options_.adam_learning_rate) return *options_.adam_learning_rate;
    return (options_.scale == MuonScale::original ? 0.015 : 1) * options_.learning_rate;
  }

  MuonOptions options_;
  std::optional<LayerMatrices> layers_;
  bool reduced_ = false;  // Newton-Schulz steps in bfloat16
  Tensor momentum_;       // [n]
  Tensor mean_, square_;  // of the rest
  int64_t steps_ = 0;     // of AdamW
  Tensor displacement_;
};

}  // namespace

std::unique_ptr<Direction> muon_direction(const MuonOptions& options) {
  return std::make_unique<Muon>(options);
}

}  // namespace osculant
