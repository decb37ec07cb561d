#include "osculant/model/layer_taps.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/library.h>
#include <torch/types.h>

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "osculant/model/layer_rules.h"

namespace osculant {
namespace {

constexpr auto tap_key = c10::DispatchKey::TESTING_ONLY_GenericMode;

std::string layer_of(const std::string& parameter) {
  auto dot = parameter.rfind('.');
  return dot == std::string::npos ? parameter : parameter.substr(0, dot);
}

// Calls visit(tensor) for a tensor and for those of a list.
template <class Visit>
void for_tensors(const c10::IValue& value, Visit visit) {
  if (value.isTensor()) {
    if (value.toTensor().defined()) visit(value.toTensor());
  } else if (value.isTensorList()) {
    for (const Tensor& tensor : value.toTensorVector()) visit(tensor);
  } else if (value.isOptionalTensorList()) {
    for (const std::optional<Tensor>& tensor : value.toOptionalTensorVector())
      if (tensor && tensor->defined()) visit(*tensor);
  }
}

// x without its dimensions that were expanded from one.
Tensor unexpanded(Tensor x) {
  for (int64_t d = 0; d < x.dim(); ++d)
    if (x.stride(d) == 0 && x.size(d) > 1) x = x.narrow(d, 0, 1);
  return x;
}

// A part whose unit, alone of all its dimensions, stands at that dimension of an output.
bool along_unit(const ParameterPart& part, const Tensor& output, int64_t unit_dimension) {
  int64_t from_right = unit_dimension < 0 ? -unit_dimension : output.dim() - unit_dimension;
  auto dims = static_cast<int64_t>(part.shape.size());
  return from_right <= dims && part.shape[static_cast<size_t>(dims - from_right)] == part.size() &&
         part.size() == output.size(unit_dimension);
}

}  // namespace

const char* name_of(LayerKind kind) {
  switch (kind) {
    case LayerKind::linear:
      return "linear";
    case LayerKind::convolution:
      return "convolution";
    case LayerKind::embedding:
      return "embedding";
    case LayerKind::normalization:
      return "normalization";
    case LayerKind::bias:
      break;
  }
  return "bias";
}

int64_t ParameterPart::size() const {
  return c10::multiply_integers(shape);
}

bool ParameterPart::overlaps(const ParameterPart& other) const {
  return offset < other.offset + other.size() && other.offset < offset + size();
}

class LayerTaps::Recorder {
 public:
  explicit Recorder(const ParameterLayout& layout) : layout_(layout), note_(unavailable()) {
    for (size_t i = 0; i < layout.leaves().size(); ++i)
      parameters_[layout.leaves()[i].unsafeGetTensorImpl()] = i;
    reasons_.resize(layout.leaves().size());
    seen_.resize(layout.leaves().size());
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

  std::vector<UntappedParameter> untapped() const {
    std::vector<UntappedParameter> list;
    for (size_t i = 0; i < seen_.size(); ++i) {
      const std::string& name = layout_.parameters()[i].name;
      if (!reasons_[i].empty())
        list.push_back({i, name, reasons_[i]});
      else if (!seen_[i])
        list.push_back({i, name, "no call uses it"});
    }
    return list;
  }

 private:
  // Every call of the thread comes here first, before autograd and before it is taken apart.
  static void observe(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
    c10::impl::ExcludeDispatchKeyGuard below(tap_key);
    if (!current_) return op.callBoxed(stack);
    if (torch::autograd::get_current_node() == nullptr) return current_->call(op, stack);
    if (c10::GradMode::is_enabled()) current_->leave_untapped(op, *stack, "used in a derivative");
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

  // The parameter that a tensor is, or is a view of: nn::Linear hands over its weight's transpose.
  std::optional<size_t> known(const Tensor& tensor) const {
    auto found = parameters_.find(tensor.unsafeGetTensorImpl());
    if (found == parameters_.end() && tensor.is_view())
      found = parameters_.find(tensor._base().unsafeGetTensorImpl());
    return found == parameters_.end() ? std::nullopt : std::optional<size_t>(found->second);
  }
  std::optional<size_t> known(const c10::IValue& value) const {
    return value.isTensor() && value.toTensor().defined() ? known(value.toTensor()) : std::nullopt;
  }

  struct Located {
    ParameterPart part;
    bool transposed = false;  // the argument is the part's transpose
  };
  // The stretch of theta that an argument is. Nothing for a view of no single stretch, and without gradients.
  std::optional<Located> locate(const c10::IValue& value) const {
    auto index = known(value);
    if (!index || !c10::GradMode::is_enabled()) return std::nullopt;
    const Tensor &leaf = layout_.leaves()[*index], whole = unexpanded(value.toTensor());
    bool plain = whole.is_contiguous(), turned = !plain && whole.dim() == 2 && whole.t().is_contiguous();
    if (!plain && !turned) return std::nullopt;
    const Parameter& parameter = layout_.parameters()[*index];
    return Located{{.name = parameter.name,
                    .index = *index,
                    .offset = parameter.offset + whole.storage_offset() - leaf.storage_offset(),
                    .shape = (turned ? whole.t() : whole).sizes().vec()},
                   turned};
  }

  // A tap's output, while it is followed.
  struct Followed {
    size_t tap;
    Tensor output;
    bool used = false;
  };
  Followed* followed(const c10::IValue& value) {
    if (!value.isTensor()) return nullptr;
    auto found = followed_.find(value.toTensor().unsafeGetTensorImpl());
    return found == followed_.end() ? nullptr : &found->second;
  }
  void follow(size_t tap) {
    const Tensor& output = taps_[tap].output;
    followed_.insert_or_assign(output.unsafeGetTensorImpl(), Followed{tap, output});
  }

  void refuse(size_t parameter, std::string reason) {
    if (reasons_[parameter].empty()) reasons_[parameter] = std::move(reason);
  }

  // Every parameter among the arguments.
  void leave_untapped(const c10::OperatorHandle& op, const torch::jit::Stack& stack,
                      const std::string& reason) {
    size_t arguments = op.schema().arguments().size();
    for (size_t i = stack.size() - arguments; i < stack.size(); ++i)
      for_tensors(stack[i], [&](const Tensor& tensor) {
        if (auto parameter = known(tensor)) refuse(*parameter, reason);
      });
  }

  void call(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
    std::string_view name = op.schema().name();
    if (name.starts_with("aten::")) name.remove_prefix(6);
    bool in_place = name.ends_with('_') && !name.ends_with("__");
    std::string_view base = in_place ? name.substr(0, name.size() - 1) : name;
    size_t arguments = op.schema().arguments().size();
    auto first = stack->end() - static_cast<std::ptrdiff_t>(arguments);
    std::vector<size_t> parameters;  // among the arguments
    std::vector<Followed*> before;
    for (auto argument = first; argument != stack->end(); ++argument)
      for_tensors(*argument, [&](const Tensor& tensor) {
        if (auto parameter = known(tensor)) parameters.push_back(*parameter);
        if (auto* at = followed(tensor)) before.push_back(at);
      });
    for (size_t parameter : parameters) seen_[parameter] = true;

    if (base == "add" && arguments == 3 && !parameters.empty() && first[1].isTensor()) {
      call_add(op, in_place, stack);
    } else {
      for (auto* at : before) separate(*at);
      if (ActivationKind kind = activation_of(base); kind != ActivationKind::none) {
        call_activation(kind, base, in_place, op, stack);
      } else if (const auto* rule = in_place ? nullptr : weight_rule(name); rule && !parameters.empty()) {
        call_layer(*rule, op, stack, parameters);
      } else {
        if (in_place) keep(first[0]);
        op.callBoxed(stack);
      }
      for (size_t parameter : parameters) account_for(parameter, op, *stack);
    }
    explained_.clear();
  }

  // A use that no tap describes, unless all that came out is the parameter's own memory.
  void account_for(size_t parameter, const c10::OperatorHandle& op, const torch::jit::Stack& stack) {
    if (auto found = std::find(explained_.begin(), explained_.end(), parameter); found != explained_.end()) {
      explained_.erase(found);
      return;
    }
    bool own = true;
    size_t results = op.schema().returns().size();
    for (size_t i = stack.size() - results; i < stack.size(); ++i)
      for_tensors(stack[i], [&](const Tensor& tensor) {
        own = own && (known(tensor) == parameter || !tensor.is_floating_point());
      });
    if (own) return;
    std::string_view name = op.schema().name();
    if (name.starts_with("aten::")) name.remove_prefix(6);
    refuse(parameter, fmt::format("used by {}", name));
  }

  // The output of a tap is used. Where a bias had been added apart, that sum is not all that follows from it.
  void separate(Followed& at) {
    at.used = true;
    LayerTap& tap = taps_[at.tap];
    if (!tap.product.is_same(at.output)) return;
    refuse(tap.bias->index, "added to what is used elsewhere too");
    tap.bias.reset();
    tap.output = std::exchange(tap.product, {});
  }

  void call_layer(const WeightRule& rule, const c10::OperatorHandle& op, torch::jit::Stack* stack,
                  const std::vector<size_t>& parameters) {
    const auto& schema = op.schema();
    std::vector<c10::IValue> argument(stack->end() - static_cast<std::ptrdiff_t>(schema.arguments().size()),
                                      stack->end());
    op.callBoxed(stack);
    const c10::IValue& result = (*stack)[stack->size() - schema.returns().size()];
    auto weight = known(argument[rule.weight]);
    if (!result.isTensor() || !argument[rule.input].isTensor()) return;
    if (!weight) return add_bias_alone(rule, argument, result.toTensor());
    const auto& name = layout_.parameters()[*weight].name;
    LayerTap tap{.layer = layer_of(name),
                 .parameter = name,
                 .operation = std::string(rule.operation),
                 .kind = rule.kind,
                 .unit_dimension = rule.unit_dimension,
                 .weight = layout_.leaves()[*weight],
                 .input = argument[rule.input].toTensor(),
                 .output = result.toTensor()};
    if (describe(rule, op, argument, tap) && std::count(parameters.begin(), parameters.end(), *weight) == 1) {
      explained_.push_back(tap.part.index);
      if (tap.bias) explained_.push_back(tap.bias->index);
    }
    taps_.push_back(std::move(tap));
    follow(taps_.size() - 1);
  }

  // A bias whose weight is not trained.
  void add_bias_alone(const WeightRule& rule, const std::vector<c10::IValue>& argument,
                      const Tensor& output) {
    auto bias = rule.bias < 0 ? std::nullopt : locate(argument[static_cast<size_t>(rule.bias)]);
    if (!bias || bias->part.size() != output.size(rule.unit_dimension) || !unscaled(rule, argument)) return;
    if (rule.unit_dimension == 1) {  // as it would be written to be broadcast
      bias->part.shape.assign(static_cast<size_t>(output.dim() - 1), 1);
      bias->part.shape[0] = output.size(1);
    }
    push_bias(bias->part, rule.operation, output);
  }

  void push_bias(const ParameterPart& part, std::string_view operation, const Tensor& output) {
    explained_.push_back(part.index);
    taps_.push_back({.layer = layer_of(part.name),
                     .parameter = part.name,
                     .operation = std::string(operation),
                     .kind = LayerKind::bias,
                     .weight = layout_.leaves()[part.index],
                     .input = output,
                     .output = output,
                     .part = part});
  }

  // addmm: beta * bias + alpha * input weight
  static bool unscaled(const WeightRule& rule, const std::vector<c10::IValue>& argument) {
    return rule.operation != "addmm" ||
           (argument[3].toScalar().toDouble() == 1 && argument[4].toScalar().toDouble() == 1);
  }

  // Parts and geometry; false where there is no closed form.
  bool describe(const WeightRule& rule, const c10::OperatorHandle& op,
                const std::vector<c10::IValue>& argument, LayerTap& tap) const {
    auto weight = locate(argument[rule.weight]);
    if (!weight || !unscaled(rule, argument)) return false;
    tap.part = weight->part;
    if (rule.bias >= 0)
      if (auto bias = locate(argument[static_cast<size_t>(rule.bias)])) {
        bool by_unit = rule.kind == LayerKind::normalization
                           ? bias->part.size() == weight->part.size()
                           : bias->part.size() == tap.output.size(rule.unit_dimension);
        if (by_unit && !bias->transposed && bias->part.index != weight->part.index) tap.bias = bias->part;
      }
    if (rule.kind == LayerKind::linear) {
      tap.transposed = weight->transposed != (rule.operation != "linear");
      return weight->part.shape.size() == 2;
    }
    if (weight->transposed) return false;
    if (rule.kind == LayerKind::convolution) {
      auto geometry = convolution_geometry(rule, argument.data());
      if (geometry) tap.convolution = *geometry;
      return geometry.has_value();
    }
    if (rule.kind == LayerKind::embedding) {
      // scale_grad_by_freq, sparse: other gradients than the derivative's, or of another layout.
      if (argument[3].toBool() || argument[4].toBool()) return false;
      if (argument[2].toInt() >= 0) tap.padding_index = argument[2].toInt();
      return true;
    }
    tap.normalized = [op, argument, rule] { return normalized(op, argument, rule); };
    return true;
  }

  // The same call with weight 1 and bias 0, and no running statistics that it would update.
  static Tensor normalized(const c10::OperatorHandle& op, std::vector<c10::IValue> argument,
                           const WeightRule& rule) {
    at::NoGradGuard no_grad;
    argument[rule.weight] = at::ones_like(argument[rule.weight].toTensor());
    if (auto bias = static_cast<size_t>(rule.bias); rule.bias >= 0 && argument[bias].isTensor())
      argument[bias] = at::zeros_like(argument[bias].toTensor());
    if (auto running = running_statistics(rule.operation); running && running->by_batch &&
                                                           argument[*running->by_batch].isBool() &&
                                                           argument[*running->by_batch].toBool())
      argument[running->mean] = argument[running->variance] = c10::IValue();
    op.callBoxed(argument);
    return argument[0].toTensor().detach();
  }

  // What is about to be overwritten. A copy that stands at the same place of the graph remains.
  void keep(const c10::IValue& self) {
    auto* at = followed(self);
    if (!at) return;
    LayerTap& tap = taps_[at->tap];
    if (!tap.output.is_same(at->output)) return;
    Tensor kept = tap.output.detach().clone();
    if (tap.output.requires_grad())
      torch::autograd::impl::set_gradient_edge(kept, torch::autograd::impl::gradient_edge(tap.output));
    tap.output = kept;
  }

  void call_activation(ActivationKind kind, std::string_view name, bool in_place,
                       const c10::OperatorHandle& op, torch::jit::Stack* stack) {
    auto* at = followed((*stack)[stack->size() - op.schema().arguments().size()]);
    LayerTap* tap = at ? &taps_[at->tap] : nullptr;
    if (tap && in_place) keep(at->output);
    op.callBoxed(stack);
    if (!tap || tap->activated.defined()) return;
    tap->activation_kind = kind;
    tap->activation = name;
    tap->activated = stack->back().toTensor();
  }

  // x W' + b with the bias added apart, or any other addition of a parameter.
  void call_add(const c10::OperatorHandle& op, bool in_place, torch::jit::Stack* stack) {
    std::vector<c10::IValue> argument(stack->end() - 3, stack->end());
    auto left = known(argument[0]), right = known(argument[1]);
    auto bias = locate(argument[left ? 0 : 1]);
    const c10::IValue& other = argument[left ? 1 : 0];
    auto* at = other.isTensor() ? followed(other) : nullptr;
    bool joins = at && bias && !(left && right) && !at->used && belongs(bias->part, taps_[at->tap]);
    bool whole = !(left && right) && bias && !bias->transposed && argument[2].toScalar().toDouble() == 1;
    if (at && !(joins && whole)) separate(*at);
    if (at && in_place && !(joins && whole)) keep(other);
    op.callBoxed(stack);
    const Tensor& sum = stack->back().toTensor();
    if (!whole) {
      for (auto parameter : {left, right})
        if (parameter) refuse(*parameter, "used by add");
    } else if (joins) {
      LayerTap& tap = taps_[at->tap];
      tap.bias = bias->part;
      if (!in_place) tap.product = std::exchange(tap.output, sum);
      follow(at->tap);
    } else {
      push_bias(bias->part, "add", sum);
    }
  }

  static bool belongs(const ParameterPart& bias, const LayerTap& tap) {
    bool map = tap.kind == LayerKind::linear || tap.kind == LayerKind::convolution;
    return map && !tap.bias && bias.index != tap.part.index &&
           along_unit(bias, tap.output, tap.unit_dimension);
  }

  static thread_local Recorder* current_;

  const ParameterLayout& layout_;
  std::string note_;
  std::unordered_map<c10::TensorImpl*, size_t> parameters_;
  std::vector<std::string> reasons_;  // of each parameter: why no tap tells all of it
  std::vector<bool> seen_;
  std::vector<LayerTap> taps_;
  std::unordered_map<c10::TensorImpl*, Followed> followed_;
  std::vector<size_t> explained_;  // parameters that the present call's tap describes
  Recorder* outer_ = nullptr;
  std::optional<c10::impl::IncludeDispatchKeyGuard> key_;
};

thread_local LayerTaps::Recorder* LayerTaps::Recorder::current_ = nullptr;

LayerTaps::LayerTaps(const ParameterLayout& layout) : recorder_(std::make_unique<Recorder>(layout)) {}
LayerTaps::~LayerTaps() = default;

const std::vector<LayerTap>& LayerTaps::list() const {
  return recorder_->list();
}
std::vector<UntappedParameter> LayerTaps::untapped() const {
  return recorder_->untapped();
}
const std::string& LayerTaps::note() const {
  return recorder_->note();
}

}  // namespace osculant
