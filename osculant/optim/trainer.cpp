#include "osculant/optim/trainer.h"

#include <torch/types.h>

#include <utility>

#include "osculant/base/error.h"
#include "osculant/io/archive.h"

namespace osculant {
namespace {

constexpr const char* kind = "osculant trainer";
constexpr int64_t version = 1;

// So many examples, none of which is at hand: what shares of a training set are counted by.
class Elsewhere : public ExampleSource {
 public:
  explicit Elsewhere(int64_t size) : size_(size) {}
  int64_t size() const override { return size_; }
  Batch range(int64_t, int64_t) const override { not_here(); }
  Batch select(const Tensor&) const override { not_here(); }

 private:
  [[noreturn]] static void not_here() {
    fail_usage(
        "trainer: the method asks for examples beside the batch's, and a Trainer has none; use a Minimizer");
  }
  int64_t size_;
};

// A closure that calls backward() has freed the graph that curvature is taken from, and would have its
// gradients doubled.
class GradientWatch {
 public:
  explicit GradientWatch(const ParameterLayout& layout) : layout_(layout) {
    for (const auto& leaf : layout.leaves()) before_.push_back(mark(leaf));
  }
  void require_untouched() const {
    for (size_t i = 0; i < before_.size(); ++i)
      if (mark(layout_.leaves()[i]) != before_[i])
        fail_usage(
            "trainer: the function has called backward(). Curvature needs the graph, so a step takes a "
            "function "
            "that computes the loss and returns it:\n"
            "    auto record = trainer.step([&] { return loss_of(net->forward(input), target); });\n"
            "without zero_grad() and backward(); methods that need gradients alone are torch::optim "
            "optimizers as well "
            "(osculant/optim/torch_optimizers.h)");
  }

 private:
  static std::pair<const void*, int64_t> mark(const Tensor& leaf) {
    const Tensor& grad = leaf.grad();
    return {grad.defined() ? grad.unsafeGetTensorImpl() : nullptr, grad.defined() ? grad._version() : 0};
  }
  const ParameterLayout& layout_;
  std::vector<std::pair<const void*, int64_t>> before_;
};

}  // namespace

// What the model's forward pass, or the objective, is while a step by the user's function is made.
struct Trainer::UserFunction {
  std::shared_ptr<ParameterLayout> layout;
  const std::function<Tensor()>* function = nullptr;

  Tensor call() const {
    GradientWatch watch(*layout);
    Tensor result = (*function)();
    watch.require_untouched();
    return result;
  }
};

Trainer::Trainer(Model model, OutputLoss loss, Method method, TrainerOptions options)
    : Trainer(std::move(model), std::move(method), std::move(options)) {
  loss_ = std::move(loss);
}

Trainer::Trainer(Model model, Method method, TrainerOptions options)
    : model_(model),
      method_(std::move(method)),
      options_(std::move(options)),
      user_(std::make_shared<UserFunction>()) {
  require_non_negative("examples", static_cast<double>(options_.examples));
  user_->layout = model.layout_ptr();
  model_ = model.with_forward([model, user = user_](const Model::Inputs& inputs) -> Model::Outputs {
    if (user->function) return {user->call()};
    return model.forward(inputs);
  });
}

Trainer::~Trainer() = default;

Stepper& Trainer::stepper(int64_t first_batch) {
  if (stepper_) return *stepper_;
  StepperOptions options;
  options.batch_size = full_batch;
  options.seed = options_.seed;
  options.schedule = options_.schedule;
  options.learning_rates = options_.learning_rates;
  options.clip_gradient_norm = options_.clip_gradient_norm;
  options.sharpness_radius = options_.sharpness_radius;
  options.averaging = options_.averaging;
  auto objective = [&] {
    if (!loss_) return Objective::function(model_, [user = user_] { return user->call(); });
    int64_t examples = options_.examples > 0 ? options_.examples : first_batch;
    return Objective(model_, *loss_, BatchSource(std::make_shared<Elsewhere>(examples), examples));
  }();
  for (const auto& regularizer : options_.regularizers) objective = objective.plus(regularizer);
  stepper_ = std::make_unique<Stepper>(objective, method_, options);
  return *stepper_;
}

StepRecord Trainer::step_on(const Batch& batch, bool divisible) {
  if (!loss_)
    fail_usage("trainer: was made without a loss of outputs; pass a function that computes the loss");
  if (batch.size() == 0) fail_usage("trainer: the batch is empty");
  Stepper& stepper = this->stepper(batch.size());
  return stepper.step(stepper.objective().on(batch), divisible);
}

StepRecord Trainer::step(const Batch& batch) {
  return step_on(batch, true);
}

StepRecord Trainer::step(const Tensor& inputs, const Tensor& targets) {
  return step_on({{{"", inputs}}, {{"", targets}}, {}}, true);
}

namespace {

// The user's function in its place, for as long as it lives.
class InPlace {
 public:
  InPlace(const std::function<Tensor()>*& place, const std::function<Tensor()>& function) : place_(place) {
    place_ = &function;
  }
  ~InPlace() { place_ = nullptr; }

 private:
  const std::function<Tensor()>*& place_;
};

}  // namespace

StepRecord Trainer::step(const std::function<Tensor()>& forward, const Tensor& targets) {
  InPlace in_place(user_->function, forward);
  return step_on({{}, {{"", targets}}, {}}, false);
}

StepRecord Trainer::step(const std::function<Tensor()>& loss) {
  if (loss_)
    fail_usage(
        "trainer: was made with a loss of outputs; pass inputs and targets, or a function that computes "
        "outputs "
        "and the targets, or make it without one: Trainer(net, method)");
  InPlace in_place(user_->function, loss);
  Stepper& stepper = this->stepper(1);
  return stepper.step(stepper.objective(), false);
}

int64_t Trainer::steps() const {
  return stepper_ ? stepper_->steps() : 0;
}

const Tensor& Trainer::average() const {
  static const Tensor none;
  return stepper_ ? stepper_->average() : none;
}

void Trainer::save(const std::string& path) const {
  if (!stepper_) fail_usage("trainer: there is nothing to save before the first step");
  Archive archive(kind, version);
  archive.put("examples", loss_ ? stepper_->objective().examples() : 1);
  auto state = archive.scope("stepper");
  stepper_->save(state);
  archive.save(path);
}

void Trainer::load(const std::string& path) {
  Archive archive = Archive::load(path, kind, version);
  stepper_.reset();
  stepper(archive.integer("examples")).load(archive.scope("stepper"));
}

}  // namespace osculant
