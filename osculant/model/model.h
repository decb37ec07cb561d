#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "osculant/tensor/batch.h"
#include "osculant/tensor/parameter_layout.h"

namespace torch::nn {
class AnyModule;
class Module;
template <typename Contained>
class ModuleHolder;
}  // namespace torch::nn

namespace osculant {

// One row of a model's summary: a parameter and where it comes from.
struct Layer {
  std::string name;            // "features.0"
  std::vector<int64_t> shape;  // of its weight, or of its first parameter
  int64_t parameters = 0;      // trainable entries in it
};

// A parameter that goes by two names: tied weights.
struct TiedName {
  std::string name;   // the further name
  std::string first;  // the one that Implementation::parameters gives it
};

// A network: trainable parameters in one flat layout, buffers, and a forward pass from inputs to outputs.
//
// A handle: copies share the network. Taking a module re-points the storage of its parameters into the layout
// (see ParameterLayout), so cast and move the module before, and never after.
class Model {
 public:
  using Inputs = std::vector<Tensor>;
  using Outputs = std::vector<Tensor>;  // almost always one
  using Forward = std::function<Outputs(const Inputs&)>;

  // What a model is made of. Exported programs, the zoo and tests derive from it; users rarely do.
  class Implementation {
   public:
    virtual ~Implementation() = default;
    virtual Outputs forward(const Inputs& inputs) = 0;
    virtual void train(bool on) = 0;  // modes of dropout and batch norm
    virtual bool training() const = 0;
    virtual std::vector<NamedTensor> parameters() const = 0;         // each distinct tensor once, in order
    virtual std::vector<NamedTensor> buffers() const { return {}; }  // state that is not trained
    virtual std::vector<TiedName> tied_names() const { return {}; }
    virtual std::vector<std::string> input_names() const { return {}; }  // empty: inputs are matched by order
    virtual bool couples_examples() const { return false; }              // batch norm in training mode does
    virtual int64_t required_batch_size() const { return 0; }  // a program exported for one size; 0 is any
    virtual std::string kind() const = 0;                      // "module", "exported", ...
  };

  // `frozen` names parameters, by glob, that are not trained: they leave theta and stay as they are.
  // Parameters whose requires_grad is already off are frozen too.
  explicit Model(std::shared_ptr<Implementation> implementation, const std::vector<std::string>& frozen = {});

  // From a torch module with a forward(Tensor) or forward(Tensor, ...): nn::Sequential, a struct of your own,
  // ...
  template <class Module>
  Model(torch::nn::ModuleHolder<Module> module, const std::vector<std::string>& frozen = {})
      : Model(
            module.ptr(), [raw = module.get()](const Inputs& x) { return call(*raw, x); }, frozen) {}
  template <class Module, std::enable_if_t<std::is_base_of_v<torch::nn::Module, Module>, int> = 0>
  Model(std::shared_ptr<Module> module, const std::vector<std::string>& frozen = {})
      : Model(
            module, [raw = module.get()](const Inputs& x) { return call(*raw, x); }, frozen) {}

  explicit Model(const torch::nn::AnyModule& module, const std::vector<std::string>& frozen = {});

  // From a module and any forward pass over it.
  Model(std::shared_ptr<torch::nn::Module> module, Forward forward,
        const std::vector<std::string>& frozen = {});

  // From leaf tensors and a forward pass that reads them.
  Model(std::vector<NamedTensor> parameters, Forward forward);

  // The same parameters seen through another forward pass: the second term of a physics-informed objective.
  Model with_forward(Forward forward) const;

  // The same network with these parameters, by glob, frozen as well. Parameters move to a new layout, so that
  // this model, and whatever was made from it, is not to be used any more.
  Model with_frozen(const std::vector<std::string>& globs) const { return Model(implementation_, globs); }

  Outputs forward(const Inputs& inputs) const;
  Outputs forward(const Batch& batch) const;  // inputs by name where both sides have names, else in order

  ParameterLayout& layout() const { return *layout_; }
  const std::shared_ptr<ParameterLayout>& layout_ptr() const { return layout_; }
  int64_t parameters() const { return layout_->size(); }  // n

  std::vector<NamedTensor> buffers() const { return implementation_->buffers(); }
  std::vector<NamedTensor> frozen() const { return frozen_; }
  std::vector<Layer> layers() const;

  // Everything that a file of weights holds: trainable, frozen and buffers, under the names they have; tied
  // weights once, under their first. The tensors are the model's own, not copies.
  std::vector<NamedTensor> state() const;
  // Sets parameters and buffers by name. Throws Error(data) on a missing, unknown or misshapen entry, and
  // then leaves the model as it was. Tied weights may come under any of their names, or all.
  void load_state(const std::vector<NamedTensor>& state) const;

  void train(bool on = true) const { implementation_->train(on); }
  bool training() const { return implementation_->training(); }
  bool couples_examples() const { return implementation_->couples_examples(); }
  int64_t required_batch_size() const { return implementation_->required_batch_size(); }
  const std::vector<std::string>& input_names() const { return input_names_; }
  std::string kind() const { return implementation_->kind(); }

  at::Device device() const { return layout_->device(); }
  at::ScalarType dtype() const { return layout_->dtype(); }

 private:
  template <class Module>
  static Outputs call(Module& module, const Inputs& x) {
    if constexpr (requires { module.forward(x[0]); }) {
      if (x.size() == 1) return wrap(module.forward(x[0]));
    }
    if constexpr (requires { module.forward(x[0], x[1]); }) {
      if (x.size() == 2) return wrap(module.forward(x[0], x[1]));
    }
    if constexpr (requires { module.forward(x[0], x[1], x[2]); }) {
      if (x.size() == 3) return wrap(module.forward(x[0], x[1], x[2]));
    }
    wrong_inputs(x.size());
  }
  static Outputs wrap(Tensor output) { return {std::move(output)}; }
  static Outputs wrap(Outputs outputs) { return outputs; }
  [[noreturn]] static void wrong_inputs(size_t given);

  std::shared_ptr<Implementation> implementation_;
  std::shared_ptr<ParameterLayout> layout_;
  std::vector<NamedTensor> frozen_;
  std::vector<std::string> input_names_;
};

}  // namespace osculant
