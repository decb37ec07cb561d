#pragma once

#include <torch/optim/optimizer.h>

#include <memory>
#include <vector>

#include "osculant/optim/methods.h"

namespace osculant::optim {

// Methods that need gradients alone as optimizers of libtorch's: in a loop that has one, a line changes.
//
//   osculant::optim::AdamW optimizer(net->parameters(), {.learning_rate = 1e-3});
//   for (...) {
//     optimizer.zero_grad();
//     loss_of(net->forward(x), y).backward();
//     optimizer.step();
//   }
//
// Parameter groups, torch's schedulers (which set each group's rate), closures, torch::save and torch::load
// work as they do with torch's own. The network keeps its storage. Parameters without a gradient stay as
// they are. A step whose gradients are not finite is not made, and counted: neither parameters nor state see
// it. Methods that need curvature, or look for the length of their steps, are for a Trainer (trainer.h).
class GradientOptimizer : public torch::optim::Optimizer {
 public:
  // The rate a group's steps are scaled to; its own where it differs from the method's.
  struct Rate : torch::optim::OptimizerOptions {
    explicit Rate(double lr) : lr(lr) {}
    double lr;
    std::unique_ptr<OptimizerOptions> clone() const override { return std::make_unique<Rate>(*this); }
    double get_lr() const override { return lr; }
    void set_lr(double rate) override { lr = rate; }
  };

  // `learning_rate`: that of `method`. Throws Error(usage) for a method that needs more than gradients.
  GradientOptimizer(std::vector<torch::optim::OptimizerParamGroup> groups, Method method,
                    double learning_rate);
  ~GradientOptimizer() override;

  at::Tensor step(LossClosure closure = nullptr) override;  // the closure's loss, undefined without one

  void save(torch::serialize::OutputArchive& archive) const override;
  // Parameters must have the shapes they had. Throws Error(data) for an archive of another method.
  void load(torch::serialize::InputArchive& archive) override;

  int64_t steps() const { return steps_; }
  int64_t skipped() const { return skipped_; }  // of these, for gradients that were not finite

 private:
  struct Group;
  Group& group(size_t i);
  void step_group(Group& group, const std::vector<at::Tensor>& parameters, double rate);

  Method method_;
  double learning_rate_;
  std::vector<std::unique_ptr<Group>> groups_;
  int64_t steps_ = 0, skipped_ = 0;
};

template <class Options, Method (*make)(const Options&)>
class OptimizerOf : public GradientOptimizer {
 public:
  explicit OptimizerOf(std::vector<at::Tensor> parameters, const Options& options = {})
      : OptimizerOf({torch::optim::OptimizerParamGroup(std::move(parameters))}, options) {}
  explicit OptimizerOf(std::vector<torch::optim::OptimizerParamGroup> groups, const Options& options = {})
      : GradientOptimizer(std::move(groups), make(options), options.learning_rate) {}
};

using Sgd = OptimizerOf<SgdOptions, methods::sgd>;
using Momentum = OptimizerOf<MomentumOptions, methods::momentum>;
using Adam = OptimizerOf<AdamOptions, methods::adam>;
using AdamW = OptimizerOf<AdamWOptions, methods::adamw>;
using RMSprop = OptimizerOf<RmspropOptions, methods::rmsprop>;
using Muon = OptimizerOf<MuonOptions, methods::muon>;
using Soap = OptimizerOf<SoapOptions, methods::soap>;
using Shampoo = OptimizerOf<ShampooOptions, methods::shampoo>;

}  // namespace osculant::optim
