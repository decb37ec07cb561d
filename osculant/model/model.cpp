#include "osculant/model/model.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/nn.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "osculant/base/error.h"
#include "osculant/base/text.h"
#include "osculant/model/twice_differentiable.h"

namespace osculant {
namespace {

template <class BatchNorm>
bool couples(const torch::nn::Module& module) {
  const auto* norm = dynamic_cast<const BatchNorm*>(&module);
  return norm && (norm->is_training() || !norm->options.track_running_stats());
}

template <class Items>
std::vector<NamedTensor> distinct(const Items& items) {
  std::vector<NamedTensor> out;
  std::unordered_set<c10::TensorImpl*> seen;
  for (const auto& item : items)
    if (seen.insert(item.value().unsafeGetTensorImpl()).second) out.push_back({item.key(), item.value()});
  return out;
}

class ModuleImplementation : public Model::Implementation {
 public:
  ModuleImplementation(std::shared_ptr<torch::nn::Module> module, Model::Forward forward)
      : module_(std::move(module)), forward_(std::move(forward)) {
    if (!module_) fail_usage("model: the module is null");
    for (const auto& module : module_->modules())
      recurrent_ = recurrent_ || dynamic_cast<torch::nn::LSTMImpl*>(module.get()) ||
                   dynamic_cast<torch::nn::GRUImpl*>(module.get()) ||
                   dynamic_cast<torch::nn::RNNImpl*>(module.get());
  }

  Model::Outputs forward(const Model::Inputs& inputs) override {
    TwiceDifferentiableKernels kernels(recurrent_);
    return forward_(inputs);
  }
  void train(bool on) override { module_->train(on); }
  bool training() const override { return module_->is_training(); }
  std::vector<NamedTensor> parameters() const override { return distinct(module_->named_parameters()); }
  std::vector<NamedTensor> buffers() const override { return distinct(module_->named_buffers()); }
  std::vector<TiedName> tied_names() const override {
    std::vector<TiedName> tied;
    std::unordered_map<c10::TensorImpl*, std::string> first;
    for (const auto& item : module_->named_parameters()) {
      auto [at, fresh] = first.emplace(item.value().unsafeGetTensorImpl(), item.key());
      if (!fresh) tied.push_back({item.key(), at->second});
    }
    return tied;
  }
  bool couples_examples() const override {
    const auto modules = module_->modules();
    return std::any_of(modules.begin(), modules.end(), [](const auto& module) {
      return couples<torch::nn::BatchNorm1dImpl>(*module) || couples<torch::nn::BatchNorm2dImpl>(*module) ||
             couples<torch::nn::BatchNorm3dImpl>(*module);
    });
  }
  std::string kind() const override { return "module"; }

 private:
  std::shared_ptr<torch::nn::Module> module_;
  Model::Forward forward_;
  bool recurrent_ = false;
};

class FunctionImplementation : public Model::Implementation {
 public:
  FunctionImplementation(std::vector<NamedTensor> parameters, Model::Forward forward)
      : parameters_(std::move(parameters)), forward_(std::move(forward)) {}
  Model::Outputs forward(const Model::Inputs& inputs) override {
    TwiceDifferentiableKernels kernels(false);
    return forward_(inputs);
  }
  void train(bool on) override { training_ = on; }
  bool training() const override { return training_; }
  std::vector<NamedTensor> parameters() const override { return parameters_; }
  std::string kind() const override { return "function"; }

 private:
  std::vector<NamedTensor> parameters_;
  Model::Forward forward_;
  bool training_ = false;
};

// Another forward pass over the parameters, buffers and mode of a base.
class OtherForward : public Model::Implementation {
 public:
  OtherForward(std::shared_ptr<Model::Implementation> base, Model::Forward forward)
      : base_(std::move(base)), forward_(std::move(forward)) {}
  Model::Outputs forward(const Model::Inputs& inputs) override {
    TwiceDifferentiableKernels kernels(false);
    return forward_(inputs);
  }
  void train(bool on) override { base_->train(on); }
  bool training() const override { return base_->training(); }
  std::vector<NamedTensor> parameters() const override { return base_->parameters(); }
  std::vector<NamedTensor> buffers() const override { return base_->buffers(); }
  std::vector<TiedName> tied_names() const override { return base_->tied_names(); }
  bool couples_examples() const override { return base_->couples_examples(); }
  std::string kind() const override { return base_->kind(); }

 private:
  std::shared_ptr<Model::Implementation> base_;
  Model::Forward forward_;
};

std::vector<std::string> names_of(const std::vector<NamedTensor>& tensors) {
  std::vector<std::string> names;
  for (const auto& entry : tensors) names.push_back(entry.name);
  return names;
}

void freeze(const std::vector<NamedTensor>& parameters, const std::vector<std::string>& globs) {
  for (const auto& glob : globs) {
    bool any = false;
    for (const auto& [name, tensor] : parameters) {
      if (!glob_match(glob, name)) continue;
      any = true;
      Tensor(tensor).set_requires_grad(false);
    }
    if (!any)
      fail_usage(
          fmt::format("freeze \"{}\": matches none of: {}", glob, fmt::join(names_of(parameters), ", ")));
  }
}

Model::Outputs call(const torch::nn::AnyModule& module, const Model::Inputs& x) {
  auto any = module;  // a handle: its forward is not const
  switch (x.size()) {
    case 1:
      return {any.forward(x[0])};
    case 2:
      return {any.forward(x[0], x[1])};
    case 3:
      return {any.forward(x[0], x[1], x[2])};
    default:
      fail_data(
          fmt::format("model: forward takes one to three tensors, but the data has {} inputs", x.size()));
  }
}

// "features.0" of "features.0.weight"; a parameter without a dot is a layer of its own.
std::string layer_of(const std::string& parameter) {
  auto dot = parameter.rfind('.');
  return dot == std::string::npos ? parameter : parameter.substr(0, dot);
}

}  // namespace

Model::Model(std::shared_ptr<Implementation> implementation, const std::vector<std::string>& frozen)
    : implementation_(std::move(implementation)), input_names_(implementation_->input_names()) {
  auto parameters = implementation_->parameters();
  freeze(parameters, frozen);
  std::vector<NamedTensor> trainable;
  for (auto& entry : parameters) (entry.tensor.requires_grad() ? trainable : frozen_).push_back(entry);
  layout_ = std::make_shared<ParameterLayout>(std::move(trainable));
}

Model::Model(std::shared_ptr<torch::nn::Module> module, Forward forward,
             const std::vector<std::string>& frozen)
    : Model(std::make_shared<ModuleImplementation>(std::move(module), std::move(forward)), frozen) {}

Model::Model(const torch::nn::AnyModule& module, const std::vector<std::string>& frozen)
    : Model(
          module.ptr(), [module](const Inputs& x) { return osculant::call(module, x); }, frozen) {}

Model::Model(std::vector<NamedTensor> parameters, Forward forward)
    : Model([&]() -> std::shared_ptr<Implementation> {
        for (auto& [name, tensor] : parameters)
          if (tensor.is_leaf() && tensor.is_floating_point()) tensor.set_requires_grad(true);
        return std::make_shared<FunctionImplementation>(std::move(parameters), std::move(forward));
      }()) {}

Model Model::with_forward(Forward forward) const {
  Model other = *this;
  other.implementation_ = std::make_shared<OtherForward>(implementation_, std::move(forward));
  other.input_names_.clear();
  return other;
}

void Model::wrong_inputs(size_t given) {
  fail_data(
      fmt::format("model: its forward does not take {} tensors; give the inputs it takes, or a Model with "
                  "a forward function of your own",
                  given));
}

Model::Outputs Model::forward(const Inputs& inputs) const {
  for (size_t i = 0; i < inputs.size(); ++i)
    if (!inputs[i].defined()) fail_data(fmt::format("model: input {} is undefined", i));
  if (!input_names_.empty() && inputs.size() != input_names_.size())
    fail_data(fmt::format("model: takes {} inputs ({}), got {}", input_names_.size(),
                          fmt::join(input_names_, ", "), inputs.size()));
  return implementation_->forward(inputs);
}

Model::Outputs Model::forward(const Batch& batch) const {
  bool by_name = !input_names_.empty() && !batch.inputs.empty() &&
                 std::all_of(batch.inputs.begin(), batch.inputs.end(),
                             [](const NamedTensor& input) { return !input.name.empty(); });
  Inputs inputs;
  if (!by_name) {
    for (const auto& input : batch.inputs) inputs.push_back(input.tensor);
    return forward(inputs);
  }
  for (const auto& name : input_names_) {
    auto at = std::find_if(batch.inputs.begin(), batch.inputs.end(),
                           [&](const NamedTensor& input) { return input.name == name; });
    if (at == batch.inputs.end())
      fail_data(fmt::format("model: input {} is missing; the data has inputs {}", name,
                            fmt::join(names_of(batch.inputs), ", ")));
    inputs.push_back(at->tensor);
  }
  if (batch.inputs.size() != inputs.size())
    fail_data(fmt::format("model: takes inputs {}, but the data has {}", fmt::join(input_names_, ", "),
                          fmt::join(names_of(batch.inputs), ", ")));
  return forward(inputs);
}

std::vector<Layer> Model::layers() const {
  std::vector<Layer> layers;
  std::unordered_map<std::string, size_t> index;
  for (const auto& [name, tensor] : implementation_->parameters()) {
    auto [at, fresh] = index.emplace(layer_of(name), layers.size());
    if (fresh) layers.push_back({at->first, tensor.sizes().vec(), 0});
    Layer& layer = layers[at->second];
    if (name == layer.name + ".weight") layer.shape = tensor.sizes().vec();
    if (tensor.requires_grad()) layer.parameters += tensor.numel();
  }
  return layers;
}

std::vector<NamedTensor> Model::state() const {
  std::vector<NamedTensor> state;
  for (const auto& [name, tensor] : implementation_->parameters()) state.push_back({name, tensor.detach()});
  for (const auto& [name, tensor] : implementation_->buffers()) state.push_back({name, tensor});
  return state;
}

namespace {

void check_entry(const NamedTensor& given, const Tensor& wanted) {
  if (given.tensor.sizes() != wanted.sizes())
    fail_data(fmt::format("weights: {} has shape [{}], the model's has [{}]", given.name,
                          fmt::join(given.tensor.sizes(), ", "), fmt::join(wanted.sizes(), ", ")));
  if (given.tensor.is_floating_point() != wanted.is_floating_point())
    fail_data(fmt::format("weights: {} is {}, the model's is {}", given.name,
                          c10::toString(given.tensor.scalar_type()), c10::toString(wanted.scalar_type())));
}

}  // namespace

void Model::load_state(const std::vector<NamedTensor>& state) const {
  const auto own = this->state();
  std::unordered_map<std::string, Tensor> wanted, given;
  std::unordered_map<std::string, std::string> first_name;
  for (const auto& [name, tensor] : own) wanted.emplace(name, tensor);
  for (const auto& [name, first] : implementation_->tied_names()) first_name.emplace(name, first);
  for (const auto& entry : state) {
    auto tied = first_name.find(entry.name);
    const std::string& name = tied == first_name.end() ? entry.name : tied->second;
    auto at = wanted.find(name);
    if (at == wanted.end()) {
      auto near = nearest_word(entry.name, names_of(own));
      fail_data(fmt::format("weights: {} is not a parameter or buffer of the model{}", entry.name,
                            near.empty() ? "" : fmt::format("; did you mean {}?", near)));
    }
    check_entry(entry, at->second);
    given.emplace(name, entry.tensor);
  }
  std::vector<std::string> missing;
  for (const auto& entry : own)
    if (!given.count(entry.name)) missing.push_back(entry.name);
  if (!missing.empty()) fail_data(fmt::format("weights: missing {}", fmt::join(missing, ", ")));

  torch::NoGradGuard no_grad;
  Tensor theta = layout_->theta().clone();
  for (const auto& p : layout_->parameters()) {
    theta.narrow(0, p.offset, p.size).view(p.shape).copy_(given.at(p.name));
    wanted.erase(p.name);
  }
  for (auto& [name, tensor] : wanted) tensor.copy_(given.at(name));
  layout_->assign(theta);
}

}  // namespace osculant
