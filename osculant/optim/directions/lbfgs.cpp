#include "osculant/optim/directions/lbfgs.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "osculant/base/error.h"
#include "osculant/io/archive.h"
#include "osculant/linop/vector_space.h"
#include "osculant/optim/directions/pair_memory.h"

namespace osculant {

void LbfgsOptions::check() const {
  require_at_least("memory", static_cast<double>(memory), 1);
  require_non_negative("initial_scale", initial_scale);
  require_positive("decrease", decrease);
  require_between("decrease", decrease, 0, 0.5);
  require_between("curvature", curvature, decrease, 1);
  require_at_least("max_evaluations", static_cast<double>(max_evaluations), 1);
}

void visit(OptionVisitor& v, LbfgsOptions& o) {
  v.integer("memory", o.memory, ">= 1", "pairs of steps and gradient changes kept");
  v.number("initial_scale", o.initial_scale, ">= 0", "H_0 = this times I; 0: s'y / y'y of the last pair");
  v.number("decrease", o.decrease, "in (0, 0.5]", "c1 of the strong Wolfe conditions");
  v.number("curvature", o.curvature, "between decrease and 1", "c2 of the strong Wolfe conditions");
  v.integer("max_evaluations", o.max_evaluations, ">= 1", "values and gradients a line search may take");
}

namespace {

class Lbfgs : public Direction {
 public:
  explicit Lbfgs(const LbfgsOptions& options) : options_(options), memory_(options.memory) {}

  Needs needs() const override { return {.gradient = true}; }

  void prepare(const StepContext& context) override {
    gradient_ = context.linearization.gradient();
    followed_ = context.gradient;
  }

  Step propose(const StepContext&, const Damping&) override {
    VectorSpace space(gradient_.numel(), gradient_.options());
    Step step;
    step.note = std::exchange(note_, "");
    step.displacement = direction(space);
    step.slope = space.dot(gradient_, step.displacement);
    double bound = -space.epsilon() * space.norm(gradient_) * space.norm(step.displacement);
    if (!memory_.empty() && !(step.slope < bound)) {
      step.note = fmt::format("memory emptied: g'p = {:.3g} is no descent", step.slope);
      memory_.clear();
      step.displacement = direction(space);
      step.slope = space.dot(gradient_, step.displacement);
    }
    return step;
  }

  void accepted(const StepOutcome& outcome) override {
    if (!outcome.new_gradient.defined()) return;
    auto pair = PairMemory::make(outcome.displacement.clone(), outcome.new_gradient - gradient_);
    if (pair.shows_curvature())
      memory_.push(std::move(pair));
    else
      note_ = fmt::format("pair left out: s'y = {:.3g} shows no curvature", pair.sy);
  }

  void rejected(const StepOutcome&) override {
    if (memory_.empty()) return;
    note_ = "memory emptied after a failed line search";
    memory_.clear();
  }

  void save(Archive& archive) const override {
    archive.put("note", note_);
    memory_.save(archive);
  }

  void load(const Archive& archive, const ParameterLayout& layout) override {
    note_ = archive.text("note");
    memory_.load(archive, layout);
  }

 private:
  // The two-loop recursion (Nocedal & Wright 2006, algorithm 7.4) applied to -g. Without pairs the first step
  // has norm at most 1, for nothing is known of the scale.
  Tensor direction(const VectorSpace& space) const {
    const auto& pairs = memory_.pairs();
    Tensor q = -followed_;
    if (pairs.empty()) return q.mul_(options_.initial_scale > 0 ? options_.initial_scale : cautious(space));
    std::vector<double> alpha(pairs.size());
    for (size_t i = pairs.size(); i-- > 0;) {
      alpha[i] = space.dot(pairs[i].s, q) / pairs[i].sy;
      q.add_(pairs[i].y, -alpha[i]);
    }
    q.mul_(options_.initial_scale > 0 ? options_.initial_scale : pairs.back().sy / pairs.back().yy);
    for (size_t i = 0; i < pairs.size(); ++i) {
      double beta = space.dot(pairs[i].y, q) / pairs[i].sy;
      q.add_(pairs[i].s, alpha[i] - beta);
    }
    return q;
  }

  double cautious(const VectorSpace& space) const { return std::min(1.0, 1.0 / space.norm(followed_)); }

  LbfgsOptions options_;
  PairMemory memory_;
  Tensor gradient_;  // of the batch: what pairs are made of
  Tensor followed_;  // the same, or clipped
  std::string note_;
};

}  // namespace

std::unique_ptr<Direction> lbfgs_direction(const LbfgsOptions& options) {
  options.check();
  return std::make_unique<Lbfgs>(options);
}

}  // namespace osculant
