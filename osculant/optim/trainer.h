#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "osculant/optim/stepper.h"

namespace osculant {

struct TrainerOptions {
  int64_t examples = 0;  // training examples: what epochs and gradient equivalents are counted by; 0: those
                         // of the first batch
  uint64_t seed = 0;     // of whatever the method draws
  Schedule schedule = {};
  std::vector<ParameterRule> learning_rates = {};
  double clip_gradient_norm = 0;
  double sharpness_radius = 0;
  double averaging = 0;
  std::vector<std::shared_ptr<const Regularizer>> regularizers = {};
};

// Any method in a loop of the user's own:
//
//   osculant::Trainer trainer(net, osculant::CrossEntropy(), osculant::methods::hessian_free());
//   for (auto& batch : *loader) {
//     auto record = trainer.step(batch.data, batch.target);
//     std::cout << record.loss_before << '\n';
//   }
//
// The loss is torch's over the batch (`reduction = mean`). Curvature methods look at a batch more than once,
// so the trainer calls the network itself: pass tensors, or a function that computes outputs, or the loss,
// and does not call backward(). A value, gradient or step that is not finite never reaches the parameters.
class Trainer {
 public:
  Trainer(Model model, OutputLoss loss, Method method, TrainerOptions options = {});
  // Without a loss of outputs: for step(loss) alone, by methods that need no Gauss-Newton products.
  Trainer(Model model, Method method, TrainerOptions options = {});
  ~Trainer();

  StepRecord step(const Batch& batch);
  StepRecord step(const Tensor& inputs, const Tensor& targets);
  // `forward` computes the outputs for `targets` with the model's parameters: for inputs that are no tensors.
  // It must give the same outputs each time it is called within the step.
  StepRecord step(const std::function<Tensor()>& forward, const Tensor& targets);
  // `loss` computes a scalar with the model's parameters. Throws Error(usage) where it has called backward().
  StepRecord step(const std::function<Tensor()>& loss);

  // All that the next step depends on, the parameters among it; goes on to the same bits after load. Throws
  // Error(write); Error(data) for a file that is damaged, or of another model or method.
  void save(const std::string& path) const;
  void load(const std::string& path);

  const Model& model() const { return model_; }
  int64_t steps() const;
  const Tensor& average() const;  // of the iterates, [n]; undefined without averaging

 private:
  struct UserFunction;

  StepRecord step_on(const Batch& batch, bool divisible);
  Stepper& stepper(int64_t first_batch);

  Model model_;  // calls the user's function while a step by it is made
  std::optional<OutputLoss> loss_;
  Method method_;
  TrainerOptions options_;
  std::shared_ptr<UserFunction> user_;
  std::unique_ptr<Stepper> stepper_;
};

}  // namespace osculant
