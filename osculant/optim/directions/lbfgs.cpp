#include "osculant/optim/directions/lbfgs.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "osculant/base/error.h"
#include "osculant/linop/vector_space.h"
#include "osculant/optim/directions/limited_memory.h"

namespace osculant {

void LbfgsOptions::check() const {
  require_at_least("memory", static_cast<double>(memory), 1);
  require_non_negative("initial_scale", initial_scale);
  line_search.check();
}

void visit(OptionVisitor& v, LbfgsOptions& o) {
  v.integer("memory", o.memory, ">= 1", "pairs of steps and gradient changes kept");
  v.number("initial_scale", o.initial_scale, ">= 0", "H_0 = this times I; 0: s'y / y'y of the last pair");
  visit(v, o.line_search);
}

namespace {

class Lbfgs : public LimitedMemoryDirection {
 public:
  explicit Lbfgs(const LbfgsOptions& options)
      : LimitedMemoryDirection(options.memory), initial_scale_(options.initial_scale) {}

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
    auto pair = pair_of(outcome);
    if (pair.shows_curvature())
      memory_.push(std::move(pair));
    else
      note_ = fmt::format("pair left out: s'y = {:.3g} shows no curvature", pair.sy);
  }

 private:
  // The two-loop recursion (Nocedal & Wright 2006, algorithm 7.4) applied to -g.
  Tensor direction(const VectorSpace& space) const {
    const auto& pairs = memory_.pairs();
    Tensor q = -followed_;
    if (pairs.empty()) return q.mul_(initial_scale_ > 0 ? initial_scale_ : first_scale(space));
    std::vector<double> alpha(pairs.size());
    for (size_t i = pairs.size(); i-- > 0;) {
      alpha[i] = space.dot(pairs[i].s, q) / pairs[i].sy;
      q.add_(pairs[i].y, -alpha[i]);
    }
    q.mul_(initial_scale_ > 0 ? initial_scale_ : pairs.back().sy / pairs.back().yy);
    for (size_t i = 0; i < pairs.size(); ++i) {
      double beta = space.dot(pairs[i].y, q) / pairs[i].sy;
      q.add_(pairs[i].s, alpha[i] - beta);
    }
    return q;
  }

  double initial_scale_;
};

}  // namespace

std::unique_ptr<Direction> lbfgs_direction(const LbfgsOptions& options) {
  options.check();
  return std::make_unique<Lbfgs>(options);
}

}  // namespace osculant
