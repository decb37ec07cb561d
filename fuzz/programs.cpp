#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "fuzz/targets.h"
#include "osculant/model/exported_graph.h"
#include "osculant/model/exported_interpreter.h"
#include "osculant/model/exported_operators.h"

namespace osculant::fuzz {
namespace {

using namespace osculant::exported;

constexpr int64_t symbol_size = 3;      // what symbolic sizes are
constexpr int64_t most_entries = 4096;  // of an input

void touch(const Tensor& tensor) {
  if (!tensor.defined() || tensor.layout() != at::kStrided || tensor._is_zerotensor()) return;
  if (tensor.numel() > (int64_t{1} << 20)) return;
  volatile unsigned char sum = 0;
  Tensor dense = tensor.detach().contiguous();
  const auto* bytes = static_cast<const unsigned char*>(dense.const_data_ptr());
  const size_t count = dense.nbytes();
  for (size_t i = 0; i < count; ++i) sum = static_cast<unsigned char>(sum + bytes[i]);
}

// Forward in both modes, and the gradient of everything that has one. libtorch's own refusals are answers.
void run(const Interpreter& interpreter, const std::vector<Tensor>& inputs) {
  for (bool training : {false, true})
    accepts_or_refuses([&] {
      auto outputs = interpreter.run(inputs, training);
      std::vector<Tensor> differentiable, gradients, leaves;
      for (const auto& output : outputs) {
        touch(output);
        if (!output.requires_grad()) continue;
        differentiable.push_back(output);
        gradients.push_back(at::ones_like(output));
      }
      for (const auto& input : inputs)
        if (input.requires_grad()) leaves.push_back(input);
      if (differentiable.empty() || leaves.empty()) return;
      try {
        for (const auto& gradient : torch::autograd::grad(differentiable, leaves, gradients,
                                                          /*retain_graph=*/{}, /*create_graph=*/true,
                                                          /*allow_unused=*/true))
          touch(gradient);
      } catch (const c10::Error&) {
      } catch (const std::runtime_error&) {
      }
    });
}

std::optional<Tensor> tensor_of(const TensorMeta& meta) {
  std::vector<int64_t> sizes;
  int64_t entries = 1;
  for (const auto& size : meta.sizes) {
    sizes.push_back(size.fixed.value_or(symbol_size));
    if (sizes.back() < 0 || sizes.back() > most_entries || (entries *= sizes.back()) > most_entries)
      return std::nullopt;
  }
  if (sizes.size() > 64) return std::nullopt;
  auto tensor = at::ones(sizes, meta.dtype);
  return tensor;
}

}  // namespace

// models/model.json: parsed, planned, and run on tensors of the sizes that it declares.
void graph(const uint8_t* data, size_t bytes) {
  guard_tensor_memory();
  accepts_or_refuses([&] {
    auto program = parse_program({reinterpret_cast<const char*>(data), bytes}, "model.pt2");
    Binding binding;
    binding.file = "model.pt2";
    std::vector<Tensor> inputs;
    for (const auto& spec : program.inputs) {
      if (spec.kind == InputSpec::Kind::number) continue;
      auto meta = program.graph.tensors.find(spec.value);
      if (meta == program.graph.tensors.end()) return;
      auto tensor = tensor_of(meta->second);
      if (!tensor) return;
      if (spec.kind == InputSpec::Kind::user)
        inputs.push_back(*tensor);
      else
        binding.tensors[spec.target] = *tensor;
      if (spec.kind == InputSpec::Kind::parameter && c10::isFloatingType(tensor->scalar_type()))
        tensor->set_requires_grad(true);
    }
    Interpreter interpreter(program, binding);
    run(interpreter, inputs);
  });
}

namespace {

using Kind = Argument::Kind;

// A program of one call, its operator and arguments chosen by the bytes.
class OneCall {
 public:
  explicit OneCall(Choices& choices) : choices_(choices) {
    for (auto& size : sizes_) size = static_cast<int64_t>(choices_.below(6));
  }

  void run() {
    const auto& operators = allowed();
    auto op = operators[choices_.below(operators.size())];
    const auto& schema = c10::Dispatcher::singleton().findSchema(op)->schema();
    Node node;
    node.name = "node";
    node.target = "torch.ops." + std::string("aten.") + op.name.substr(6) + "." +
                  (op.overload_name.empty() ? "default" : op.overload_name);
    for (const auto& argument : schema.arguments())
      if (!argument.default_value() || choices_.below(2))
        node.inputs.emplace_back(argument.name(), argument_for(argument));
    for (const auto& result : schema.returns()) node.outputs.push_back(result_of(result.type()));
    program_.graph.nodes.push_back(node);
    if (outputs_.empty()) add_output("x0");
    if (inputs_.empty()) user_input(at::ones({2}));
    for (const auto& name : outputs_) {
      program_.graph.outputs.push_back({.kind = Kind::value, .text = name});
      program_.outputs.push_back({OutputSpec::Kind::user, {.kind = Kind::value, .text = name}, ""});
    }
    Binding binding;
    binding.file = "model.pt2";
    std::optional<Interpreter> interpreter;
    accepts_or_refuses([&] { interpreter.emplace(program_, binding); });
    if (interpreter) fuzz::run(*interpreter, inputs_);
  }

 private:
  static const std::vector<c10::OperatorName>& allowed() {
    static const auto list = [] {
      std::vector<c10::OperatorName> names;
      for (const auto& name : c10::Dispatcher::singleton().getAllOpNames())
        if (is_allowed(name.name) && name.overload_name.find("out") == std::string::npos)
          names.push_back(name);
      std::sort(names.begin(), names.end(), [](const auto& a, const auto& b) {
        return std::tie(a.name, a.overload_name) < std::tie(b.name, b.overload_name);
      });
      return names;
    }();
    return list;
  }

  int64_t integer() {
    static constexpr int64_t odd[] = {-1,      -2,        -5,        7,         64,
                                      1 << 20, INT32_MAX, INT64_MAX, INT64_MIN, -(1ll << 40)};
    size_t which = choices_.below(16);
    if (which < 5) return sizes_[which % 4];
    if (which < 12) return static_cast<int64_t>(choices_.below(5));
    return odd[choices_.below(std::size(odd))];
  }
  double number() {
    static constexpr double some[] = {0,
                                      1,
                                      0.5,
                                      1e-5,
                                      -1,
                                      2,
                                      1e30,
                                      std::numeric_limits<double>::infinity(),
                                      std::numeric_limits<double>::quiet_NaN()};
    return some[choices_.below(std::size(some))];
  }

  at::ScalarType dtype() {
    static constexpr at::ScalarType types[] = {
        at::kFloat, at::kFloat,  at::kFloat,  at::kDouble,        at::kLong,       at::kLong,
        at::kInt,   at::kBool,   at::kByte,   at::kHalf,          at::kBFloat16,   at::kComplexFloat,
        at::kShort, at::kUInt16, at::kUInt64, at::kComplexDouble, at::kComplexHalf};
    return types[choices_.below(std::size(types))];
  }

  Tensor tensor() {
    at::ScalarType type = dtype();
    std::vector<int64_t> shape;
    for (size_t d = choices_.below(6); d > 0; --d)
      shape.push_back(choices_.below(4) ? sizes_[choices_.below(4)]
                                        : static_cast<int64_t>(choices_.below(5)));
    Tensor values = at::empty(shape, at::kLong);
    auto* entry = values.data_ptr<int64_t>();
    size_t kind = choices_.below(8);
    for (int64_t i = 0; i < values.numel(); ++i)
      entry[i] =
          kind == 0 ? integer() : static_cast<int64_t>((i * 7 + static_cast<int64_t>(kind)) % 5) - (kind > 5);
    Tensor result = values.to(type);
    if (result.dim() > 1 && choices_.below(4) == 0) result = result.transpose(0, 1);
    if (result.dim() > 0 && choices_.below(8) == 0) result = result.unsqueeze(0).expand({3, -1}).select(0, 1);
    bool floats = c10::isFloatingType(type);
    return floats ? result.detach().set_requires_grad(choices_.below(2) == 0) : result;
  }

  Argument user_input(const Tensor& tensor) {
    std::string name = "x" + std::to_string(inputs_.size());
    inputs_.push_back(tensor);
    program_.inputs.push_back({InputSpec::Kind::user, name, "", true, {}});
    return {.kind = Kind::value, .text = name};
  }

  Argument argument_for(const c10::Argument& argument) {
    auto type = argument.real_type();
    if (auto optional = type->cast<c10::OptionalType>()) type = optional->getElementType();
    switch (type->kind()) {
      case c10::TypeKind::ScalarTypeType:
        return {.kind = Kind::scalar_type, .integer = static_cast<int64_t>(dtype())};
      case c10::TypeKind::LayoutType:
        return {.kind = Kind::layout};
      case c10::TypeKind::MemoryFormatType:
        return {.kind = Kind::memory_format, .integer = static_cast<int64_t>(choices_.below(4))};
      default:
        return argument_of(argument.type());
    }
  }

  Argument argument_of(const c10::TypePtr& type) {
    if (auto optional = type->cast<c10::OptionalType>())
      return choices_.below(3) ? argument_of(optional->getElementType()) : Argument{};
    if (auto list = type->cast<c10::ListType>()) {
      Argument argument{.kind = Kind::list};
      for (size_t n = choices_.below(5); n > 0; --n)
        argument.items.push_back(argument_of(list->getElementType()));
      return argument;
    }
    static const std::vector<std::string> texts{
        "none", "mean", "sum",    "reflect", "replicate", "circular", "constant", "floor", "trunc",
        "tanh", "ij",   "linear", "valid",   "same",      "x",        "prod",     "amax",  ""};
    switch (type->kind()) {
      case c10::TypeKind::TensorType:
        if (choices_.below(16) == 0) return {.kind = Kind::number, .number = number()};
        return user_input(tensor());
      case c10::TypeKind::NumberType:
        return choices_.below(2) ? Argument{.kind = Kind::integer, .integer = integer()}
                                 : Argument{.kind = Kind::number, .number = number()};
      case c10::TypeKind::FloatType:
        return {.kind = Kind::number, .number = number()};
      case c10::TypeKind::BoolType:
        return {.kind = Kind::boolean, .integer = static_cast<int64_t>(choices_.below(2))};
      case c10::TypeKind::StringType:
        return {.kind = Kind::string, .text = texts[choices_.below(texts.size())]};
      case c10::TypeKind::DeviceObjType:
        return {.kind = Kind::device};
      case c10::TypeKind::IntType:
      case c10::TypeKind::SymIntType:
        return {.kind = Kind::integer, .integer = integer()};
      default:
        return {};
    }
  }

  std::string add_output(std::string name) {
    outputs_.push_back(name);
    return name;
  }
  Argument result_of(const c10::TypePtr& type) {
    auto fresh = [&] { return "y" + std::to_string(results_++); };
    if (type->kind() == c10::TypeKind::TensorType) return {.kind = Kind::value, .text = add_output(fresh())};
    if (type->kind() != c10::TypeKind::ListType) return {.kind = Kind::value, .text = fresh()};
    Argument list{.kind = Kind::list};
    for (size_t n = 1 + choices_.below(4); n > 0; --n)
      list.items.push_back({.kind = Kind::value, .text = add_output(fresh())});
    return list;
  }

  Choices& choices_;
  int64_t sizes_[4] = {};
  ProgramGraph program_;
  std::vector<Tensor> inputs_;
  std::vector<std::string> outputs_;
  size_t results_ = 0;
};

}  // namespace

void operators(const uint8_t* data, size_t bytes) {
  guard_tensor_memory();
  Choices choices(data, bytes);
  try {
    OneCall(choices).run();
  } catch (const c10::Error&) {  // of making the inputs
  }
}

}  // namespace osculant::fuzz
