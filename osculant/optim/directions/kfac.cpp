#include "osculant/optim/directions/kfac.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>
#include <vector>

#include "osculant/base/error.h"
#include "osculant/curvature/kronecker_factors.h"
#include "osculant/io/archive.h"
#include "osculant/linop/dealt_blocks.h"
#include "osculant/linop/vector_space.h"
#include "osculant/optim/subspace_model.h"

namespace osculant {

void KfacMethodOptions::check() const {
  if (learning_rate) require_positive("learning_rate", *learning_rate);
  require_between("momentum", momentum, 0, 1);
  damping.check();
  require_between("factor_decay", factor_decay, 0, 1);
  for (auto [name, share] : {std::pair{"factor_share", factor_share}, {"model_share", model_share}}) {
    require_positive(name, share);
    require_between(name, share, 0, 1);
  }
  require_non_negative("data_epochs", data_epochs);
  require_at_least("factor_interval", static_cast<double>(factor_interval), 1);
  require_non_negative("inverse_interval", static_cast<double>(inverse_interval));
  require_non_negative("max_relative_step", max_relative_step);
  require_at_least("max_dimension", static_cast<double>(max_dimension), 1);
}

void visit(OptionVisitor& v, KfacMethodOptions& o) {
  v.number("learning_rate", o.learning_rate, "> 0", "step length; auto: by the quadratic model, each step");
  v.number("momentum", o.momentum, "in [0, 1]",
           "of the last step, beside a given learning_rate; the model finds its own");
  visit(v, o.damping);
  v.choice<ScoreGradients>(
      "gradients", o.gradients,
      {{"auto", ScoreGradients::automatic},
       {"sampled", ScoreGradients::sampled},
       {"exact", ScoreGradients::exact},
       {"empirical", ScoreGradients::empirical}},
      "of which factors are made: at targets the network draws, columns of the output "
      "Hessian's root, or at the data's; auto: sampled, exact for losses without likelihood");
  v.choice<WeightSharing>("sharing", o.sharing,
                          {{"expand", WeightSharing::expand}, {"reduce", WeightSharing::reduce}},
                          "positions that share a weight: taken as examples, or summed");
  v.number("factor_decay", o.factor_decay, "in [0, 1]", "decay of the means of factors");
  v.number("factor_share", o.factor_share, "in (0, 1]", "of the batch, for factors");
  v.integer("factor_interval", o.factor_interval, ">= 1", "steps between updates of the factors");
  v.number(
      "data_epochs", o.data_epochs, ">= 0",
      "the input factor of a layer that sees the data alone is its mean over so many epochs, then kept; 0: a "
      "moving mean");
  v.integer("inverse_interval", o.inverse_interval, ">= 0",
            "steps between refreshes of inverses, or of eigenbases; 0: 1 to 10, by their cost");
  v.number("model_share", o.model_share, "in (0, 1]", "of the batch, for the quadratic model");
  v.number(
      "max_relative_step", o.max_relative_step, ">= 0",
      "on mini-batches a step by the model is no longer than this times the length of theta; 0: no limit");
  v.integer("max_dimension", o.max_dimension, ">= 1", "a factor with more rows is split into blocks");
}

void visit(OptionVisitor& v, EkfacMethodOptions& o) {
  visit(v, static_cast<KfacMethodOptions&>(o));
}

namespace {

bool finite(const KroneckerBlock& block) {
  return std::isfinite(block.inputs.trace().sum().item<double>()) &&
         std::isfinite(block.outputs.trace().sum().item<double>());
}

bool same_form(const KroneckerBlock& a, const KroneckerBlock& b) {
  return a.place.offset == b.place.offset && a.place.size() == b.place.size() &&
         a.place.transposed == b.place.transposed;
}

// Into tensors of its own: old + share (fresh - old).
void mix(const BlockDiagonal& mean, const BlockDiagonal& fresh, double share) {
  for (size_t i = 0; i < mean.blocks().size(); ++i) mean.blocks()[i].lerp_(fresh.blocks()[i], share);
}

// Stored as a checkpoint stores them, so that products round the same way after it was loaded.
BlockDiagonal in_order(const BlockDiagonal& B) {
  return *B.mapped([](const Tensor& block) { return std::optional(block.contiguous()); });
}

// What the two methods have in common: means of factors, and what steps are made of once there is a
// preconditioner.
class Preconditioned : public Direction {
 public:
  Preconditioned(const KfacMethodOptions& options, int64_t examples)
      : options_(options), examples_(examples), sampler_({.gradients = options.gradients}) {}

  Needs needs() const override {
    return {.gradient = true, .gauss_newton = !options_.learning_rate && options_.model_share == 1};
  }

  void prepare(const StepContext& context) override {
    note_.clear();
    if (steps_ % options_.factor_interval == 0) update_means(context);
    ++steps_;
    ++age_;
    model_.reset();
  }

  Step propose(const StepContext& context, const Damping& damping) override {
    Step step;
    double lambda = damping.value();
    Tensor d = -precondition(context, context.gradient, lambda);
    step.note = std::exchange(note_, "");
    if (!std::isfinite(d.sum().item<double>())) return step;
    if (!options_.learning_rate) return by_model(context, d, lambda, std::move(step));
    step.displacement = d * *options_.learning_rate;
    if (last_step_.defined()) step.displacement.add_(last_step_, options_.momentum);
    return step;
  }

  Tensor step_for(const StepContext& context, const Tensor& gradient, const Damping& damping) override {
    return -precondition(context, gradient, damping.value());
  }

  void accepted(const StepOutcome& outcome) override { last_step_ = outcome.displacement; }

  void save(Archive& archive) const override {
    archive.put("steps", steps_);
    archive.put("age", age_);
    archive.put("updates", updates_);
    archive.put("seen", seen_);
    archive.put("of_data", std::vector<double>(of_data_.begin(), of_data_.end()));
    auto layers = archive.scope("layers");
    sampler_.save(layers);
    if (last_step_.defined()) archive.put("last_step", last_step_.clone());
    archive.put("blocks", static_cast<int64_t>(means_.size()));
    for (size_t b = 0; b < means_.size(); ++b) {
      auto scope = archive.scope(fmt::format("block.{}", b));
      const MatrixPlace& place = means_[b].place;
      scope.put("name", means_[b].name);
      scope.put("place",
                std::vector<double>{static_cast<double>(place.offset), static_cast<double>(place.groups),
                                    static_cast<double>(place.rows), static_cast<double>(place.columns),
                                    place.transposed ? 1.0 : 0.0,
                                    place.last_column ? static_cast<double>(*place.last_column) : -1.0});
      save(scope, "outputs", means_[b].outputs);
      save(scope, "inputs", means_[b].inputs);
    }
  }

  void load(const Archive& archive, const ParameterLayout& layout) override {
    steps_ = archive.integer("steps");
    age_ = archive.integer("age");
    updates_ = archive.integer("updates");
    seen_ = archive.number("seen");
    of_data_.clear();
    for (double offset : archive.numbers("of_data")) of_data_.insert(static_cast<int64_t>(offset));
    sampler_.load(archive.scope("layers"));
    last_step_ =
        archive.contains("last_step") ? archive.tensor("last_step", layout.theta()).clone() : Tensor();
    means_.clear();
    for (int64_t b = 0; b < archive.integer("blocks"); ++b) {
      auto scope = archive.scope(fmt::format("block.{}", b));
      auto numbers = scope.numbers("place");
      if (numbers.size() != 6) fail_data("checkpoint: entry place: must have 6 numbers");
      auto at = [&](size_t i) { return static_cast<int64_t>(numbers[i]); };
      MatrixPlace place{at(0), at(1), at(2), at(3), at(4) == 1, {}};
      if (at(5) >= 0) place.last_column = at(5);
      means_.push_back(
          {scope.text("name"), place, load(scope, "outputs", layout), load(scope, "inputs", layout)});
    }
  }

 protected:
  // (F + lambda I)^-1 x, from the means as they are.
  virtual Tensor precondition(const StepContext& context, const Tensor& x, double lambda) = 0;
  // After the means have moved, by these samples.
  virtual void moved(const StepContext& context, const std::vector<LayerSample>& samples, double share) {}
  virtual bool wants_samples() const { return false; }

  static void save(Archive& archive, const std::string& name, const BlockDiagonal& B) {
    archive.put(name + ".count", static_cast<int64_t>(B.blocks().size()));
    for (size_t i = 0; i < B.blocks().size(); ++i)
      archive.put(fmt::format("{}.{}", name, i), B.blocks()[i].clone());
  }
  static BlockDiagonal load(const Archive& archive, const std::string& name, const ParameterLayout& layout) {
    std::vector<Tensor> blocks;
    for (int64_t i = 0; i < archive.integer(name + ".count"); ++i)
      blocks.push_back(
          archive.tensor(fmt::format("{}.{}", name, i)).to(layout.device(), layout.dtype()).clone());
    return BlockDiagonal(std::move(blocks));
  }

  // c: the price of a refresh, in cubes of the factors' sides.
  int64_t inverse_interval(const StepContext& context, double c) const {
    if (options_.inverse_interval > 0) return options_.inverse_interval;
    double cubes = 0, examples = static_cast<double>(context.samples.batch_examples());
    for (const auto& block : means_)
      for (const auto* side : {&block.inputs, &block.outputs})
        for (const auto& B : side->blocks())
          if (is_dense(B)) cubes += static_cast<double>(B.size(0)) * std::pow(B.size(-1), 3);
    double steps = c * cubes / (examples * static_cast<double>(context.gradient.numel()));
    return std::clamp<int64_t>(static_cast<int64_t>(std::ceil(steps)), 1, 10);
  }

  void say(const std::string& what) {
    if (note_.find(what) == std::string::npos) note_ += (note_.empty() ? "" : "; ") + what;
  }

  KfacMethodOptions options_;
  int64_t examples_;
  std::vector<KroneckerBlock> means_;
  int64_t age_ = 0;  // steps since inverses or bases were refreshed
  std::string note_;

 private:
  void update_means(const StepContext& context) {
    std::vector<LayerSample> samples;
    KroneckerFactors fresh(options_.sharing, options_.max_dimension,
                           context.linearization.objective().memory_budget());
    bool known = options_.data_epochs > 0 && seen_ >= options_.data_epochs * static_cast<double>(examples_);
    if (known)
      for (const auto& mean : means_)
        if (of_data_.contains(mean.place.offset)) fresh.set_inputs(mean.place.offset, mean.inputs);
    auto part = options_.factor_share < 1 ? context.samples.part(options_.factor_share, {}) : nullptr;
    const Objective& objective = part ? part->objective() : context.linearization.objective();
    sampler_.run(objective, context.random, [&](const LayerSample& sample) {
      fresh.add(sample);
      if (wants_samples()) samples.push_back(sample);
    });
    fresh.share(objective.communicator());
    auto blocks = fresh.blocks();
    if (!std::all_of(blocks.begin(), blocks.end(), finite)) {
      say("factors are not finite, the last are kept");
      return;
    }
    ++updates_;
    double share = std::max(1 / static_cast<double>(updates_), 1 - options_.factor_decay);
    bool first = means_.empty();
    if (first && options_.data_epochs > 0)
      for (int64_t offset : fresh.of_data()) of_data_.insert(offset);
    auto examples = static_cast<double>(objective.examples());
    seen_ += examples;
    for (const auto& block : blocks) {
      auto at = std::find_if(means_.begin(), means_.end(),
                             [&](const KroneckerBlock& mean) { return same_form(mean, block); });
      if (at == means_.end()) {
        if (first) means_.push_back(block);
        continue;
      }
      bool of_data = of_data_.contains(block.place.offset);
      if (!of_data || !known) mix(at->inputs, block.inputs, of_data ? examples / seen_ : share);
      mix(at->outputs, block.outputs, share);
    }
    if (updates_ == 1 && !fresh.untapped().empty())
      say(fmt::format("a diagonal for {}, which no layer tells: {}", fresh.untapped()[0].name,
                      fresh.untapped()[0].reason));
    moved(context, samples, share);
  }

  // p = a d + b s, the least of g'p + p'(G + lambda I)p / 2.
  Step by_model(const StepContext& context, const Tensor& d, double lambda, Step step) {
    std::vector<SubspaceColumn> columns{{d}};
    if (last_step_.defined()) columns.push_back({last_step_});
    Tensor P = SubspaceModel::stack(columns);
    if (options_.model_share < 1 && !model_)
      model_ = context.samples.part(options_.model_share, {.gauss_newton = true});
    Linearization& here = model_ ? *model_ : context.linearization;
    VectorSpace space(d.numel(), d.options());
    Tensor gram = here.gauss_newton_gram(P) + lambda * space.gram(P, P);
    if (!std::isfinite(gram.sum().item<double>())) return step;
    auto best = SubspaceModel::of_gram(std::move(columns), context.gradient, gram).minimize(0);
    if (!best.displacement.defined()) return step;
    double norm = space.norm(best.displacement);
    double curvature = 2 * (best.predicted_change - best.slope) - lambda * norm * norm;
    double share = allowed_share(context, space, norm);
    step.displacement = best.displacement * share;
    step.slope = share * best.slope;
    step.predicted_change = step.slope + share * share * curvature / 2;
    return step;
  }

  double allowed_share(const StepContext& context, const VectorSpace& space, double norm) const {
    if (options_.max_relative_step == 0 || norm == 0 || context.full_batch) return 1;
    double theta = space.norm(context.linearization.objective().layout().theta());
    return std::min(1.0, options_.max_relative_step * std::max(1.0, theta) / norm);
  }

  LayerSampler sampler_;
  std::shared_ptr<Linearization> model_;  // of this step, where it has a part of the batch
  Tensor last_step_;                      // [n]
  int64_t steps_ = 0, updates_ = 0;
  double seen_ = 0;            // examples that made factors
  std::set<int64_t> of_data_;  // offsets of weights that meet the data alone
};

VectorSpace space_of(const StepContext& context) {
  const Tensor& g = context.gradient;
  return VectorSpace(g.numel(), g.options());
}

class KfacDirection : public Preconditioned {
 public:
  using Preconditioned::Preconditioned;

  void save(Archive& archive) const override {
    Preconditioned::save(archive);
    archive.put("lambda", lambda_);
    if (!inverse_) return;
    for (size_t b = 0; b < means_.size(); ++b) {
      auto scope = archive.scope(fmt::format("inverse.{}", b));
      Preconditioned::save(scope, "outputs", inverse_->blocks()[b].outputs);
      Preconditioned::save(scope, "inputs", inverse_->blocks()[b].inputs);
    }
  }

  void load(const Archive& archive, const ParameterLayout& layout) override {
    Preconditioned::load(archive, layout);
    lambda_ = archive.number("lambda");
    inverse_.reset();
    if (lambda_ == 0) return;
    std::vector<KroneckerBlock> blocks;
    for (size_t b = 0; b < means_.size(); ++b) {
      auto scope = archive.scope(fmt::format("inverse.{}", b));
      blocks.push_back({means_[b].name, means_[b].place, Preconditioned::load(scope, "outputs", layout),
                        Preconditioned::load(scope, "inputs", layout)});
    }
    VectorSpace space(layout.size(), layout.options());
    inverse_ = std::make_shared<KroneckerOperator>(space, std::move(blocks), 1 / lambda_);
  }

 protected:
  Tensor precondition(const StepContext& context, const Tensor& x, double lambda) override {
    constexpr double moved_far = 1.5;
    lambda = std::max(lambda, 1e-20);
    bool far = lambda > moved_far * lambda_ || lambda * moved_far < lambda_;
    if (!inverse_ || age_ >= inverse_interval(context, 1) || far) invert(context, lambda);
    return inverse_ ? inverse_->apply(x) : x / lambda;
  }

 private:
  // The inverse's matrices, and by what lambda had to be multiplied where a factor has lost its definiteness
  // to rounding.
  static std::optional<std::vector<Tensor>> damped_inverse(const KroneckerBlock& mean, double lambda) {
    for (double more = 1; more < 1e9; more *= 10)
      if (auto inverse = factored_inverse(mean, lambda * more)) {
        auto matrices = matrices_of(*inverse);
        matrices.push_back(at::full({1}, more, matrices[0].options()));
        return matrices;
      }
    return std::nullopt;
  }

  // A process inverts the factors of some layers.
  void invert(const StepContext& context, double lambda) {
    DealtWork all;
    for (const auto& mean : means_) all.costs.push_back(decomposition_cost(mean));
    all.like = [&](size_t b) {
      auto like = matrices_of(means_[b]);
      like.push_back(like[0].new_empty({1}));
      return like;
    };
    all.work = [&](size_t b) { return damped_inverse(means_[b], lambda); };
    auto found = deal(all, context.linearization.objective().communicator());
    if (!found) return say("a factor has no inverse, the last ones are kept");
    std::vector<KroneckerBlock> blocks;
    for (size_t b = 0; b < means_.size(); ++b) {
      blocks.push_back(with_matrices(means_[b], (*found)[b]));
      if ((*found)[b].back().item<double>() > 1) say("a factor is singular: more damping");
    }
    inverse_ = std::make_shared<KroneckerOperator>(space_of(context), std::move(blocks), 1 / lambda);
    lambda_ = lambda;
    age_ = 0;
  }

  std::shared_ptr<KroneckerOperator> inverse_;
  double lambda_ = 0;  // of the inverse
};

class EkfacDirection : public Preconditioned {
 public:
  using Preconditioned::Preconditioned;

  void save(Archive& archive) const override {
    Preconditioned::save(archive);
    archive.put("bases", !bases_.empty());
    for (size_t b = 0; b < bases_.size(); ++b) {
      auto scope = archive.scope(fmt::format("basis.{}", b));
      Preconditioned::save(scope, "outputs", bases_[b].outputs);
      Preconditioned::save(scope, "inputs", bases_[b].inputs);
      scope.put("values", bases_[b].values.clone());
    }
  }

  void load(const Archive& archive, const ParameterLayout& layout) override {
    Preconditioned::load(archive, layout);
    bases_.clear();
    if (!archive.flag("bases")) return;
    for (size_t b = 0; b < means_.size(); ++b) {
      auto scope = archive.scope(fmt::format("basis.{}", b));
      Tensor values = scope.tensor("values").to(layout.device(), layout.dtype()).clone();
      bases_.push_back({means_[b].name, means_[b].place, Preconditioned::load(scope, "outputs", layout),
                        Preconditioned::load(scope, "inputs", layout), values});
    }
  }

 protected:
  bool wants_samples() const override { return true; }

  void moved(const StepContext& context, const std::vector<LayerSample>& samples, double share) override {
    bool first = bases_.empty();
    if (first || age_ >= inverse_interval(context, 4)) {
      const Communicator& processes = context.linearization.objective().communicator();
      auto found = first ? eigen_blocks(means_, processes) : refreshed(bases_, means_, processes);
      if (found) {
        bases_ = *std::move(found);
        for (auto& block : bases_) {
          block.inputs = in_order(block.inputs);
          block.outputs = in_order(block.outputs);
        }
        age_ = 0;
      } else {
        say("no eigenvectors, the last are kept");
      }
      if (bases_.empty()) return;
    }
    EigenvalueSums sums(bases_);
    for (const auto& sample : samples) sums.add(sample);
    sums.share(context.linearization.objective().communicator());
    auto fresh = sums.blocks();
    for (size_t b = 0; b < bases_.size(); ++b) bases_[b].values.lerp_(fresh[b].values, first ? 1 : share);
  }

  Tensor precondition(const StepContext& context, const Tensor& x, double lambda) override {
    lambda = std::max(lambda, 1e-20);
    if (bases_.empty()) return x / lambda;
    return KroneckerEigen(space_of(context), bases_).inverse(lambda)->apply(x);
  }

 private:
  std::vector<EigenBlock> bases_;
};

}  // namespace

std::unique_ptr<Direction> kfac_direction(const KfacMethodOptions& options, int64_t examples) {
  options.check();
  return std::make_unique<KfacDirection>(options, examples);
}

std::unique_ptr<Direction> ekfac_direction(const KfacMethodOptions& options, int64_t examples) {
  options.check();
  return std::make_unique<EkfacDirection>(options, examples);
}

}  // namespace osculant
