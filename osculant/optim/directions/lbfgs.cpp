#include "osculant/optim/directions/lbfgs.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <deque>
#include <vector>

#include "osculant/base/error.h"
#include "osculant/io/archive.h"
#include "osculant/linop/vector_space.h"

namespace osculant {

void LbfgsOptions::check() const {
  require_at_least("memory", static_cast<double>(memory), 1);
  require_positive("decrease", decrease);
  require_between("decrease", decrease, 0, 0.5);
  require_between("curvature", curvature, decrease, 1);
  require_at_least("max_evaluations", static_cast<double>(max_evaluations), 1);
}

void visit(OptionVisitor& v, LbfgsOptions& o) {
  v.integer("memory", o.memory, ">= 1", "pairs of steps and gradient changes kept");
  v.number("decrease", o.decrease, "in (0, 0.5]", "c1 of the strong Wolfe conditions");
  v.number("curvature", o.curvature, "between decrease and 1", "c2 of the strong Wolfe conditions");
  v.integer("max_evaluations", o.max_evaluations, ">= 1", "values and gradients a line search may take");
}

namespace {

class Lbfgs : public Direction {
 public:
  explicit Lbfgs(const LbfgsOptions& options) : options_(options) {}

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
    if (!pairs_.empty() && !(step.slope < bound)) {
      step.note = fmt::format("memory emptied: g'p = {:.3g} is no descent", step.slope);
      pairs_.clear();
      step.displacement = direction(space);
      step.slope = space.dot(gradient_, step.displacement);
    }
    return step;
  }

  void accepted(const StepOutcome& outcome) override {
    if (!outcome.new_gradient.defined()) return;
    Tensor s = outcome.displacement, y = outcome.new_gradient - gradient_;
    VectorSpace space(s.numel(), s.options());
    double sy = space.dot(s, y), yy = space.dot(y, y), ss = space.dot(s, s);
    if (!(sy > space.epsilon() * std::sqrt(ss * yy))) {
      note_ = fmt::format("pair left out: s'y = {:.3g} shows no curvature", sy);
      return;
    }
    pairs_.push_back({s.clone(), y, sy, yy});
    if (static_cast<int64_t>(pairs_.size()) > options_.memory) pairs_.pop_front();
  }

  void rejected(const StepOutcome&) override {
    if (pairs_.empty()) return;
    note_ = "memory emptied after a failed line search";
    pairs_.clear();
  }

  void save(Archive& archive) const override {
    archive.put("pairs", static_cast<int64_t>(pairs_.size()));
    archive.put("note", note_);
    for (size_t i = 0; i < pairs_.size(); ++i) {
      archive.put(fmt::format("s{}", i), pairs_[i].s);
      archive.put(fmt::format("y{}", i), pairs_[i].y);
    }
  }

  void load(const Archive& archive, const ParameterLayout& layout) override {
    pairs_.clear();
    note_ = archive.text("note");
    for (int64_t i = 0; i < archive.integer("pairs"); ++i) {
      Tensor s = archive.tensor(fmt::format("s{}", i), layout.theta()),
             y = archive.tensor(fmt::format("y{}", i), layout.theta());
      VectorSpace space(s.numel(), s.options());
      pairs_.push_back({s, y, space.dot(s, y), space.dot(y, y)});
    }
  }

 private:
  struct Pair {
    Tensor s, y;
    double sy, yy;
  };

  // The two-loop recursion (Nocedal & Wright 2006, algorithm 7.4) applied to -g. Without pairs the first step
  // has norm at most 1, for nothing is known of the scale.
  Tensor direction(const VectorSpace& space) const {
    Tensor q = -followed_;
    if (pairs_.empty()) return q.mul_(std::min(1.0, 1.0 / space.norm(followed_)));
    std::vector<double> alpha(pairs_.size());
    for (size_t i = pairs_.size(); i-- > 0;) {
      alpha[i] = space.dot(pairs_[i].s, q) / pairs_[i].sy;
      q.add_(pairs_[i].y, -alpha[i]);
    }
    q.mul_(pairs_.back().sy / pairs_.back().yy);
    for (size_t i = 0; i < pairs_.size(); ++i) {
      double beta = space.dot(pairs_[i].y, q) / pairs_[i].sy;
      q.add_(pairs_[i].s, alpha[i] - beta);
    }
    return q;
  }

  LbfgsOptions options_;
  std::deque<Pair> pairs_;
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
