#include "osculant/model/layer_taps.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/library.h>
#include <torch/types.h>

#include <array>
#include <optional>
#include <string_view>
#include <unordered_map>

namespace osculant {
namespace {

constexpr auto tap_key = c10::DispatchKey::TESTING_ONLY_GenericMode;

// Operators with a weight, and where their arguments stand.
struct WeightRule {
  std::string_view operation;
  LayerKind kind;
  size_t input, weight;
  int64_t unit_dimension;
};
constexpr std::array<WeightRule, 22> weight_rules{{
    {"linear", LayerKind::linear, 0, 1, -1},
    {"addmm", LayerKind::linear, 1, 2, -1},
    {"mm", LayerKind::linear, 0, 1, -1},
    {"matmul", LayerKind::linear, 0, 1, -1},
    {"conv1d", LayerKind::convolution, 0, 1, 1},
    {"conv2d", LayerKind::convolution, 0, 1, 1},
    {"conv3d", LayerKind::convolution, 0, 1, 1},
    {"conv_transpose1d", LayerKind::convolution, 0, 1, 1},
    {"conv_transpose2d", LayerKind::convolution, 0, 1, 1},
    {"conv_transpose3d", LayerKind::convolution, 0, 1, 1},
    {"convolution", LayerKind::convolution, 0, 1, 1},
    {"embedding", LayerKind::embedding, 1, 0, -1},
    {"layer_norm", LayerKind::normalization, 0, 2, -1},
    {"native_layer_norm", LayerKind::normalization, 0, 2, -1},
    {"rms_norm", LayerKind::normalization, 0, 2, -1},
    {"group_norm", LayerKind::normalization, 0, 2, 1},
    {"batch_norm", LayerKind::normalization, 0, 1, 1},
    {"instance_norm", LayerKind::normalization, 0, 1, 1},
    {"native_batch_norm", LayerKind::normalization, 0, 1, 1},
    {"_native_batch_norm_legit", LayerKind::normalization, 0, 1, 1},
    {"_native_batch_norm_legit_no_training", LayerKind::normalization, 0, 1, 1},
    {"cudnn_batch_norm", LayerKind::normalization, 0, 1, 1},
}};

struct ActivationRule {
  std::string_view operation;
  ActivationKind kind;
};
constexpr std::array<ActivationRule, 13> activation_rules{{
    {"relu", ActivationKind::relu},
    {"relu6", ActivationKind::relu},
    {"tanh", ActivationKind::tanh},
    {"sigmoid", ActivationKind::sigmoid},
    {"gelu", ActivationKind::other},
    {"silu", ActivationKind::other},
    {"elu", ActivationKind::other},
    {"selu", ActivationKind::other},
    {"celu", ActivationKind::other},
    {"leaky_relu", ActivationKind::other},
    {"softplus", ActivationKind::other},
    {"mish", ActivationKind::other},
    {"hardtanh", ActivationKind::other},
}};

template <class Table>
auto find_rule(const Table& table, std::string_view operation) -> decltype(table.data()) {
  for (const auto& rule : table)
    if (rule.operation == operation) return &rule;
  return nullptr;
}

std::string layer_of(const std::string& parameter) {
  auto dot = parameter.rfind('.');
  return dot == std::string::npos ? parameter : parameter.substr(0, dot);
}

}  // namespace

class LayerTaps::Recorder {
 public:
  explicit Recorder(const ParameterLayout& layout) : note_(unavailable()) {
    for (size_t i = 0; i < layout.leaves().size(); ++i)
      parameters_[layout.leaves()[i].unsafeGetTensorImpl()] = {layout.parameters()[i].name,
                                                               layout.leaves()[i]};
    if (!note_.empty()) return;
    outer_ = current_;
    current_ = this;
    key_.emplace(tap_key);
  }
  ~Recorder() {
    if (key_) current_ = outer_;
  }

  const std::vector<LayerTap>& list() const { return taps_; }
  const std::string& note() const { return note_; }

 private:
  // Every call of the thread comes here first, before autograd and before it is taken apart.
  static void observe(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
    c10::impl::ExcludeDispatchKeyGuard below(tap_key);
    bool backward = torch::autograd::get_current_node() != nullptr;
    if (current_ && !backward)
      current_->call(op, stack);
    else
      op.callBoxed(stack);
  }

  // Why layers cannot be observed; "" where they can. The fallback is registered once, when first wanted.
  static const std::string& unavailable() {
    static std::unique_ptr<torch::Library> library;
    static const std::string why = []() -> std::string {
      try {
        library = std::make_unique<torch::Library>(torch::Library::IMPL, "_", tap_key, __FILE__, __LINE__);
        library->fallback(torch::CppFunction::makeFromBoxedFunction<&Recorder::observe>());
        return "";
      } catch (const std::exception&) {
        return "layers cannot be observed: the dispatch key for it is taken by other code in this process";
      }
    }();
    return why;
  }

  struct Known {
    std::string name;
    Tensor leaf;
  };

  // The parameter that a tensor is, or is a view of: nn::Linear hands over its weight's transpose.
  const Known* known(const c10::IValue& value) const {
    if (!value.isTensor() || !value.toTensor().defined()) return nullptr;
    const Tensor& tensor = value.toTensor();
    auto found = parameters_.find(tensor.unsafeGetTensorImpl());
    if (found == parameters_.end() && tensor.is_view() && tensor.numel() == tensor._base().numel())
      found = parameters_.find(tensor._base().unsafeGetTensorImpl());
    return found == parameters_.end() ? nullptr : &found->second;
  }

  LayerTap* tap_of(const c10::IValue& output) {
    if (!output.isTensor()) return nullptr;
    for (auto tap = taps_.rbegin(); tap != taps_.rend(); ++tap)
      if (tap->output.is_same(output.toTensor())) return &*tap;
    return nullptr;
  }

  void call(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
    std::string_view name = op.schema().name();
    size_t arguments = op.schema().arguments().size();
    if (!name.starts_with("aten::") || arguments == 0) return op.callBoxed(stack);
    name.remove_prefix(6);
    if (const auto* rule = find_rule(weight_rules, name)) return call_layer(*rule, op, stack);
    bool in_place = name.ends_with('_');
    if (in_place) name.remove_suffix(1);
    if (const auto* rule = find_rule(activation_rules, name))
      return call_activation(*rule, in_place, op, stack);
    if (name == "add" && !in_place && arguments > 1) return call_add(op, stack);
    op.callBoxed(stack);
  }

  void call_layer(const WeightRule& rule, const c10::OperatorHandle& op, torch::jit::Stack* stack) {
    const auto& schema = op.schema();
    const c10::IValue* argument = &(*stack)[stack->size() - schema.arguments().size()];
    const Known* weight = known(argument[rule.weight]);
    bool tapped = weight && argument[rule.input].isTensor();
    Tensor input = tapped ? argument[rule.input].toTensor() : Tensor();
    op.callBoxed(stack);
    if (!tapped) return;
    const c10::IValue& output = (*stack)[stack->size() - schema.returns().size()];
    taps_.push_back({.layer = layer_of(weight->name),
                     .parameter = weight->name,
                     .operation = std::string(rule.operation),
                     .kind = rule.kind,
                     .unit_dimension = rule.unit_dimension,
                     .weight = weight->leaf,
                     .input = std::move(input),
                     .output = output.toTensor()});
  }

  void call_activation(const ActivationRule& rule, bool in_place, const c10::OperatorHandle& op,
                       torch::jit::Stack* stack) {
    const c10::IValue& self = (*stack)[stack->size() - op.schema().arguments().size()];
    LayerTap* tap = tap_of(self);
    if (tap && in_place) {
      // The values are about to be overwritten. A copy that stands at the same place of the graph remains.
      Tensor kept = tap->output.detach().clone();
      if (tap->output.requires_grad())
        torch::autograd::impl::set_gradient_edge(kept, torch::autograd::impl::gradient_edge(tap->output));
      tap->output = kept;
    }
    op.callBoxed(stack);
    if (!tap || tap->activated.defined()) return;
    tap->activation_kind = rule.kind;
    tap->activation = rule.operation;
    tap->activated = stack->back().toTensor();
  }

  // x W' + b with the bias added apart. (In place it is the same tensor anyway.)
  void call_add(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
    const c10::IValue* argument = &(*stack)[stack->size() - op.schema().arguments().size()];
    LayerTap* tap = known(argument[1])   ? tap_of(argument[0])
                    : known(argument[0]) ? tap_of(argument[1])
                                         : nullptr;
    op.callBoxed(stack);
    if (tap) tap->output = stack->back().toTensor();
  }

  static thread_local Recorder* current_;

  std::string note_;
  std::unordered_map<c10::TensorImpl*, Known> parameters_;
  std::vector<LayerTap> taps_;
  Recorder* outer_ = nullptr;
  std::optional<c10::impl::IncludeDispatchKeyGuard> key_;
};

thread_local LayerTaps::Recorder* LayerTaps::Recorder::current_ = nullptr;

LayerTaps::LayerTaps(const ParameterLayout& layout) : recorder_(std::make_unique<Recorder>(layout)) {}
LayerTaps::~LayerTaps() = default;

const std::vector<LayerTap>& LayerTaps::list() const {
  return recorder_->list();
}
const std::string& LayerTaps::note() const {
  return recorder_->note();
}

}  // namespace osculant
