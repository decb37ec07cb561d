#include "osculant/optim/directions/soap.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "osculant/base/error.h"
#include "osculant/io/archive.h"
#include "osculant/optim/directions/layer_matrices.h"
#include "osculant/optim/directions/matrix_statistics.h"

namespace osculant {

void SoapOptions::check() const {
  require_positive("learning_rate", learning_rate);
  require_between("beta1", beta1, 0, 1 - 1e-12);
  require_between("beta2", beta2, 0, 1 - 1e-12);
  if (factor_beta) require_between("factor_beta", *factor_beta, 0, 1 - 1e-12);
  require_positive("epsilon", epsilon);
  require_non_negative("weight_decay", weight_decay);
  require_at_least("interval", static_cast<double>(interval), 1);
  require_at_least("max_dimension", static_cast<double>(max_dimension), 1);
}

void visit(OptionVisitor& v, SoapOptions& o) {
  v.number("learning_rate", o.learning_rate, "> 0", "step length");
  v.number("beta1", o.beta1, "in [0, 1)", "decay of the mean of gradients");
  v.number("beta2", o.beta2, "in [0, 1)", "decay of the mean of their squares");
  v.number("factor_beta", o.factor_beta, "in [0, 1)", "decay of the means of G G' and G'G; auto: beta2");
  v.number("epsilon", o.epsilon, "> 0", "added to the root of the mean square");
  v.number("weight_decay", o.weight_decay, ">= 0", "shrinks theta by learning_rate times this a step");
  v.integer("interval", o.interval, ">= 1", "steps between refreshes of the eigenbases");
  v.integer("max_dimension", o.max_dimension, ">= 1",
            "a larger side of a matrix keeps the identity as basis");
  visit_precision(v, o.precision,
                  "of products with gradients and bases; auto: bfloat16 for float32 where the device has it");
}

namespace {

// The bases of a group's sides, columns by falling eigenvalue, in the dtype that products are made in.
struct Bases {
  Tensor left, right;
  at::ScalarType dtype;

  Bases(const TwoSidedGroup& group, at::ScalarType dtype) : dtype(dtype) {
    if (group.left.transform.defined()) left = group.left.transform.to(dtype);
    if (group.right.transform.defined()) right = group.right.transform.to(dtype);
  }
  Tensor into(const Tensor& X) const {  // Q_L' X Q_R
    Tensor Y = X.to(dtype);
    if (left.defined()) Y = left.mT().matmul(Y);
    if (right.defined()) Y = Y.matmul(right);
    return Y.to(X.scalar_type());
  }
  Tensor out_of(const Tensor& X) const {  // Q_L X Q_R'
    Tensor Y = X.to(dtype);
    if (left.defined()) Y = left.matmul(Y);
    if (right.defined()) Y = Y.matmul(right.mT());
    return Y.to(X.scalar_type());
  }
};

// Eigenvectors of a factor, by falling eigenvalue; undefined where they cannot be had.
Tensor eigenbasis(const Tensor& factor) {
  auto found = symmetric_eigenpairs(factor);
  return found ? found->vectors.flip({-1}).contiguous() : Tensor();
}

class Soap : public Direction {
 public:
  explicit Soap(const SoapOptions& options) : options_(options) {}

  Needs needs() const override { return {.gradient = true}; }

  void prepare(const StepContext& context) override {
    const auto& layout = context.linearization.objective().layout();
    start(layout);
    step_ = {};
    if (begun_) make_step(context.gradient, layout.theta());
    double share = 1 - options_.factor_beta.value_or(options_.beta2);
    for (size_t i = 0; i < rotated_.size(); ++i)
      rotated_[i].update_factors(context.gradient, 1 - share, share, bases_[i].dtype);
    if (!begun_) {
      for (auto& r : rotated_) first_bases(r);
      settle_bases();
      say("the first gradient makes the bases");
    } else if (steps_ % options_.interval == 0) {
      for (auto& r : rotated_) refresh(r);
      settle_bases();
    }
    begun_ = true;
  }

  Step propose(const StepContext&, const Damping&) override { return step_; }

  void save(Archive& archive) const override {
    if (!begun_) return;
    archive.put("mean", mean_.clone());
    archive.put("square", square_.clone());
    archive.put("steps", steps_);
    save_sides(archive, rotated_, "basis");
  }

  void load(const Archive& archive, const ParameterLayout& layout) override {
    if (!archive.contains("mean")) return;
    start(layout);
    mean_ = archive.tensor("mean", mean_).clone();
    square_ = archive.tensor("square", square_).clone();
    steps_ = archive.integer("steps");
    load_sides(archive, rotated_, "basis");
    settle_bases();
    begun_ = true;
  }

 private:
  void start(const ParameterLayout& layout) {
    if (layers_) return;
    int64_t limit = options_.max_dimension;
    layers_.emplace(layout, [limit](const Parameter& p, int64_t rows, int64_t columns) {
      return p.shape.size() > 1 && std::min(rows, columns) <= limit;
    });
    mean_ = at::zeros({layout.size()}, layout.options());
    square_ = at::zeros_like(mean_);
    rotated_ = two_sided(layers_->groups(), layout.options(), [limit](int64_t d) { return d <= limit; });
    reduced_ = in_bfloat16(options_.precision, layout);
    settle_bases();
  }

  void settle_bases() {
    bases_.clear();
    for (const auto& r : rotated_) {
      bool reduced = reduced_ && std::max(r.group.rows(), r.group.columns()) >= worth_bfloat16;
      bases_.emplace_back(r, reduced ? at::kBFloat16 : mean_.scalar_type());
    }
  }

  // Adam's step in the bases, taken back. Moments are kept in the bases.
  void make_step(const Tensor& g, const Tensor& theta) {
    Tensor projected = at::empty_like(g);
    if (layers_->rest() > 0) layers_->put_rest(projected, layers_->rest_of(g));
    for (size_t i = 0; i < rotated_.size(); ++i)
      rotated_[i].group.put(projected, bases_[i].into(rotated_[i].group.of(g)));

    auto t = static_cast<double>(++steps_);
    double correction = std::sqrt(1 - std::pow(options_.beta2, t)) / (1 - std::pow(options_.beta1, t));
    mean_.lerp_(projected, 1 - options_.beta1);
    square_.mul_(options_.beta2).addcmul_(projected, projected, 1 - options_.beta2);
    Tensor p = at::sqrt_out(projected, square_).add_(options_.epsilon);
    at::div_out(p, mean_, p).mul_(-options_.learning_rate * correction);

    for (size_t i = 0; i < rotated_.size(); ++i)
      rotated_[i].group.put(p, bases_[i].out_of(rotated_[i].group.of(p)));
    // The authors shrink theta after the step: theta <- (1 - eta w) (theta + p).
    double decay = options_.learning_rate * options_.weight_decay;
    if (decay > 0) p.mul_(1 - decay).add_(theta, -decay);
    step_.displacement = p;
  }

  void first_bases(TwoSidedGroup& r) {
    for (auto* side : {&r.left, &r.right}) {
      if (!side->factor.defined()) continue;
      if (Tensor Q = eigenbasis(side->factor); Q.defined())
        side->transform = Q;
      else
        say("eigh failed, the basis stays the identity");
    }
  }

  // A power step, Q <- QR(factor Q), with columns and second moments ordered by the eigenvalues that Q shows.
  void refresh(TwoSidedGroup& r) {
    auto dtype = mean_.scalar_type();
    Tensor mean = Bases(r, dtype).out_of(r.group.of(mean_)), square = r.group.of(square_);
    refresh(r.left, square, 1);
    refresh(r.right, square, 2);
    r.group.put(mean_, Bases(r, dtype).into(mean));
    r.group.put(square_, square);
  }

  void refresh(MatrixSide& side, Tensor& square, int64_t dimension) {
    if (!side.factor.defined()) return;
    const Tensor& Q = side.transform;
    Tensor FQ = symmetric_from_lower(side.factor).matmul(Q);
    Tensor order = (Q * FQ).sum(1).argsort(-1, /*descending=*/true);  // [count, d]
    auto sorted = [&](const Tensor& X, int64_t dim) {
      return X.gather(dim, order.unsqueeze(dim == 1 ? 2 : 1).expand_as(X));
    };
    Tensor basis = std::get<0>(at::linalg_qr(sorted(FQ, 2)));
    if (!std::isfinite(basis.sum().item<double>())) {
      say("QR failed, the last basis is kept");
      return;
    }
    square = sorted(square, dimension);
    side.transform = basis;
  }

  void say(const char* what) {
    if (step_.note.find(what) != std::string::npos) return;
    step_.note += (step_.note.empty() ? "" : "; ") + std::string(what);
  }

  SoapOptions options_;
  std::optional<LayerMatrices> layers_;
  std::vector<TwoSidedGroup> rotated_;
  std::vector<Bases> bases_;  // of rotated_, for products
  bool reduced_ = false;      // these in bfloat16
  Tensor mean_, square_;      // [n], of the gradient in the bases
  int64_t steps_ = 0;
  bool begun_ = false;  // the bases are there
  Step step_;
};

}  // namespace

std::unique_ptr<Direction> soap_direction(const SoapOptions& options) {
  return std::make_unique<Soap>(options);
}

}  // namespace osculant
