#include "osculant/model/exported_plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/types.h>

#include <algorithm>
#include <set>
#include <unordered_map>

#include "osculant/base/error.h"
#include "osculant/base/text.h"
#include "osculant/model/exported_operators.h"

namespace osculant::exported {
namespace {

using c10::IValue;
using Kind = Argument::Kind;
using Names = std::unordered_map<std::string, int>;

// Checks that a program carries for its exporter: the sizes are checked when inputs come in.
const std::set<std::string> skipped_targets{
    "torch.ops.aten.sym_constrain_range.default",
    "torch.ops.aten.sym_constrain_range_for_size.default",
    "torch.ops.aten._assert_tensor_metadata.default",
    "torch.ops.aten._assert_async.default",
    "torch.ops.aten._assert_async.msg",
};
constexpr const char* assertion_target = "torch.ops.aten._assert_scalar.default";
constexpr const char* higher_order = "torch.ops.higher_order.";

struct OperatorName {
  std::string name, overload;  // "aten::linear", ""
};

std::optional<OperatorName> operator_name(const std::string& target) {
  constexpr std::string_view prefix = "torch.ops.";
  if (target.rfind(prefix, 0) != 0) return std::nullopt;
  auto rest = target.substr(prefix.size());
  auto first = rest.find('.'), last = rest.rfind('.');
  if (first == std::string::npos || first == last) return std::nullopt;
  auto overload = rest.substr(last + 1);
  return OperatorName{rest.substr(0, first) + "::" + rest.substr(first + 1, last - first - 1),
                      overload == "default" ? "" : overload};
}

c10::TypePtr without_optional(const c10::TypePtr& type) {
  if (auto optional = type->cast<c10::OptionalType>()) return optional->getElementType();
  return type;
}

bool is_tensor(const c10::TypePtr& type) {
  return type->kind() == c10::TypeKind::TensorType;
}
bool is_integer(const c10::TypePtr& type) {
  return type->kind() == c10::TypeKind::IntType || type->kind() == c10::TypeKind::SymIntType;
}
bool is_float(const c10::TypePtr& type) {
  return type->kind() == c10::TypeKind::FloatType || type->kind() == c10::TypeKind::SymFloatType;
}
bool is_boolean(const c10::TypePtr& type) {
  return type->kind() == c10::TypeKind::BoolType || type->kind() == c10::TypeKind::SymBoolType;
}
bool is_scalar_type(const c10::Argument& argument) {
  return without_optional(argument.real_type())->kind() == c10::TypeKind::ScalarTypeType;
}

Tensor number_as_tensor(const IValue& number) {
  auto tensor = number.isDouble() ? torch::scalar_tensor(number.toDouble(), at::kDouble)
                : number.isBool() ? torch::scalar_tensor(number.toBool(), at::kBool)
                                  : torch::scalar_tensor(number.toInt(), at::kLong);
  tensor.unsafeGetTensorImpl()->set_wrapped_number(true);
  return tensor;
}

template <class Element, class Convert>
IValue list_of(const std::vector<IValue>& values, Convert convert) {
  c10::List<Element> list;
  list.reserve(values.size());
  for (const auto& value : values) list.push_back(convert(value));
  return list;
}

class Compiler {
 public:
  Compiler(const ProgramGraph& program, const Binding& binding) : program_(program), binding_(binding) {}

  Plan compile() {
    plan_.file = binding_.file;
    Names names = bind_inputs();
    compile_graph(program_.graph, names);
    bind_outputs(names);
    sort_mutations();
    find_dead_slots();
    return std::move(plan_);
  }

 private:
  [[noreturn]] void reject(const Node& node, const std::string& why) const {
    fail_data(fmt::format("{}: node {} ({}): {}", binding_.file, node.name, node.target, why));
  }

  int new_slot(IValue value = {}) {
    plan_.initial.push_back(std::move(value));
    root_.push_back(static_cast<int>(root_.size()));
    return root_.back();
  }

  int slot_of(const Names& names, const std::string& name, const std::string& user) const {
    auto at = names.find(name);
    if (at == names.end())
      fail_data(fmt::format("{}: {} uses {}, which nothing before it computes", binding_.file, user, name));
    return at->second;
  }

  // ---- inputs and outputs

  Names bind_inputs() {
    Names names;
    for (const auto& spec : program_.inputs) {
      if (spec.kind == InputSpec::Kind::number) {
        if (!spec.value.empty()) names[spec.value] = new_slot(plain_value(spec.number));
        continue;
      }
      if (spec.kind == InputSpec::Kind::user) {
        names[spec.value] = new_slot();
        plan_.inputs.push_back(names[spec.value]);
        continue;
      }
      auto tensor = binding_.tensors.find(spec.target);
      if (tensor == binding_.tensors.end())
        fail_data(fmt::format("{}: the tensor {} that the program reads is not in the file", binding_.file,
                              spec.target));
      names[spec.value] = new_slot(tensor->second);
      kinds_.emplace(names[spec.value], spec);
    }
    return names;
  }

  static IValue plain_value(const Argument& argument) {
    switch (argument.kind) {
      case Kind::integer:
        return argument.integer;
      case Kind::boolean:
        return argument.integer != 0;
      case Kind::number:
        return argument.number;
      case Kind::string:
        return argument.text;
      default:
        return {};
    }
  }

  void bind_outputs(const Names& names) {
    if (program_.outputs.size() != program_.graph.outputs.size())
      fail_data(fmt::format("{}: {} outputs, but {} in its signature", binding_.file,
                            program_.graph.outputs.size(), program_.outputs.size()));
    for (const auto& spec : program_.outputs) {
      if (spec.kind == OutputSpec::Kind::ignored) continue;
      int slot = slot_of(names, spec.value.text, "the output");
      if (spec.kind == OutputSpec::Kind::user) {
        plan_.outputs.push_back(slot);
        continue;
      }
      auto buffer = binding_.tensors.find(spec.target);
      if (buffer == binding_.tensors.end())
        fail_data(fmt::format("{}: updates a buffer {} that it does not have", binding_.file, spec.target));
      plan_.buffer_updates.emplace_back(slot, buffer->second);
    }
    if (plan_.outputs.empty()) fail_data(fmt::format("{}: has no outputs", binding_.file));
  }

  // ---- nodes

  void compile_graph(const Graph& graph, Names& names) {
    for (const auto& node : graph.nodes) {
      if (skipped_targets.count(node.target)) continue;
      if (node.target == assertion_target)
        compile_check(node, names);
      else if (node.target.rfind(higher_order, 0) == 0)
        compile_region(node, names);
      else if (auto function = symbolic_function(node.target))
        compile_symbolic(node, function, names);
      else
        compile_call(node, graph, names);
    }
  }

  void emit(Instruction::Kind kind, const Node& node, std::vector<Operand> operands = {}) {
    Instruction instruction;
    instruction.kind = kind;
    instruction.node = node.name;
    instruction.target = node.target;
    instruction.operands = std::move(operands);
    plan_.instructions.push_back(std::move(instruction));
  }

  void compile_check(const Node& node, const Names& names) {
    if (node.inputs.empty()) reject(node, "has no arguments");
    std::vector<Operand> operands{plain_operand(node, node.inputs[0].second, names)};
    if (node.inputs.size() > 1) operands.push_back(plain_operand(node, node.inputs[1].second, names));
    emit(Instruction::Kind::check, node, std::move(operands));
  }

  void compile_symbolic(const Node& node, SymbolicFunction function, Names& names) {
    std::vector<Operand> operands;
    for (const auto& [name, argument] : node.inputs) operands.push_back(plain_operand(node, argument, names));
    emit(Instruction::Kind::symbolic, node, std::move(operands));
    plan_.instructions.back().symbolic = function;
    if (node.outputs.size() != 1) reject(node, "must have one output");
    plan_.instructions.back().destinations.push_back(destination(node, node.outputs[0], names));
  }

  Operand plain_operand(const Node& node, const Argument& argument, const Names& names) const {
    Operand operand;
    if (argument.kind == Kind::value) {
      operand.kind = Operand::Kind::slot;
      operand.slot = slot_of(names, argument.text, node.name);
    } else {
      operand.value = plain_value(argument);
      if (operand.value.isNone()) reject(node, "takes numbers alone");
    }
    return operand;
  }

  // A graph run with gradients off or on, without autocast, or for checkpointing: inlined.
  void compile_region(const Node& node, Names& names) {
    auto kind = node.target.substr(std::string_view(higher_order).size());
    bool sets_gradient_mode = kind == "wrap_with_set_grad_enabled";
    auto at = std::find_if(node.inputs.begin(), node.inputs.end(),
                           [](const auto& input) { return input.second.kind == Kind::graph; });
    if (at == node.inputs.end()) reject(node, "has no graph");
    if (kind == "wrap_with_autocast") {
      bool enabled = node.inputs.size() < 3 || node.inputs[2].second.kind != Kind::boolean ||
                     node.inputs[2].second.integer != 0;
      if (enabled) reject(node, "mixed precision (autocast): not supported; export without it");
    } else if (!sets_gradient_mode && kind != "tag_activation_checkpoint") {
      reject(node, "control flow of this kind is not supported");
    }
    if (sets_gradient_mode) {
      if (node.inputs[0].second.kind != Kind::boolean) reject(node, "its mode must be true or false");
      emit(Instruction::Kind::set_gradient_mode, node);
      plan_.instructions.back().gradient_mode = node.inputs[0].second.integer != 0;
    }
    inline_graph(node, *at->second.graph, static_cast<size_t>(at - node.inputs.begin()) + 1, names);
    if (sets_gradient_mode) emit(Instruction::Kind::restore_gradient_mode, node);
  }

  void inline_graph(const Node& node, const Graph& graph, size_t first_operand, Names& names) {
    if (first_operand + graph.inputs.size() > node.inputs.size()) reject(node, "lacks operands of its graph");
    Names inner;
    for (size_t i = 0; i < graph.inputs.size(); ++i) {
      if (graph.inputs[i].kind != Kind::value) continue;
      const auto& operand = node.inputs[first_operand + i].second;
      inner[graph.inputs[i].text] = operand.kind == Kind::value ? slot_of(names, operand.text, node.name)
                                                                : new_slot(plain_value(operand));
    }
    compile_graph(graph, inner);
    std::vector<std::string> given = flat_names(graph.outputs), taken = flat_names(node.outputs);
    if (given.size() != taken.size()) reject(node, "takes other outputs than its graph has");
    for (size_t i = 0; i < taken.size(); ++i)
      if (!taken[i].empty()) names[taken[i]] = slot_of(inner, given[i], node.name);
  }

  static std::vector<std::string> flat_names(const std::vector<Argument>& arguments) {
    std::vector<std::string> names;
    for (const auto& argument : arguments) {
      if (argument.kind == Kind::list)
        for (const auto& item : argument.items) names.push_back(item.text);
      else
        names.push_back(argument.kind == Kind::value ? argument.text : "");
    }
    return names;
  }

  // ---- calls of operators

  c10::OperatorHandle resolve(const Node& node) const {
    auto name = operator_name(node.target);
    if (!name) reject(node, "not an operator that exported programs may call");
    const auto& extra = binding_.allowed_operators;
    bool writes_out = name->overload == "out" || name->overload.ends_with("_out");
    if (writes_out ||
        (!is_allowed(name->name) && std::find(extra.begin(), extra.end(), name->name) == extra.end()))
      reject(node,
             fmt::format("operator {} is not on the list of those that exported programs may call; if you "
                         "trust the file, add \"{}\" to ExportedOptions::allowed_operators",
                         name->name, name->name));
    auto op = c10::Dispatcher::singleton().findSchema({name->name, name->overload});
    if (!op) reject(node, "this libtorch has no such operator");
    return *op;
  }

  void compile_call(const Node& node, const Graph& graph, Names& names) {
    auto op = resolve(node);
    const auto& schema = op.schema();
    std::vector<Operand> operands;
    for (const auto& argument : schema.arguments()) operands.push_back(operand(node, argument, names));
    check_arguments(node, schema);
    if (is_factory(schema)) follow_run(node, graph, schema, operands);
    follow_mode(node, schema, operands);
    note_mutations(schema, operands);

    emit(Instruction::Kind::call, node, std::move(operands));
    auto& instruction = plan_.instructions.back();
    instruction.op = op;
    if (node.outputs.size() != schema.returns().size())
      reject(node,
             fmt::format("has {} outputs, the operator {}", node.outputs.size(), schema.returns().size()));
    for (const auto& output : node.outputs)
      instruction.destinations.push_back(destination(node, output, names));
    note_aliases(schema, instruction);
  }

  void check_arguments(const Node& node, const c10::FunctionSchema& schema) const {
    for (const auto& input : node.inputs)
      if (!schema.argumentIndexWithName(input.first))
        reject(node, fmt::format("the operator has no argument {}", input.first));
  }

  Destination destination(const Node& node, const Argument& output, Names& names) {
    Destination destination;
    if (output.kind == Kind::value) {
      destination.slot = names[output.text] = new_slot();
    } else if (output.kind == Kind::list) {
      destination.is_list = true;
      for (const auto& item : output.items) {
        if (item.kind != Kind::value) reject(node, "an output that is no tensor");
        destination.slots.push_back(names[item.text] = new_slot());
      }
    } else if (output.kind != Kind::none) {
      reject(node, "an output that is no tensor");
    }
    return destination;
  }

  Operand operand(const Node& node, const c10::Argument& wanted, const Names& names) {
    for (const auto& [name, argument] : node.inputs)
      if (name == wanted.name()) return convert(node, argument, wanted, names);
    Operand missing;
    if (wanted.default_value())
      missing.value = *wanted.default_value();
    else if (wanted.type()->kind() != c10::TypeKind::OptionalType)
      reject(node, fmt::format("lacks the argument {}", wanted.name()));
    return missing;
  }

  Operand convert(const Node& node, const Argument& argument, const c10::Argument& wanted,
                  const Names& names) {
    auto type = without_optional(wanted.type());
    if (auto list = type->cast<c10::ListType>()) return convert_list(node, argument, wanted, *list, names);
    return convert_single(node, argument, wanted.name(), type, names);
  }

  [[noreturn]] void mismatch(const Node& node, const std::string& argument, const c10::TypePtr& type) const {
    reject(node, fmt::format("argument {} does not fit the operator, which takes {}", argument, type->str()));
  }

  Operand convert_single(const Node& node, const Argument& argument, const std::string& name,
                         const c10::TypePtr& type, const Names& names) {
    Operand operand;
    if (argument.kind == Kind::value) {
      operand.kind = Operand::Kind::slot;
      operand.slot = slot_of(names, argument.text, node.name);
      if (is_tensor(type)) operand.cast = Operand::Cast::tensor;
      if (is_float(type)) operand.cast = Operand::Cast::number;
      return operand;
    }
    operand.value = constant(node, argument, name, type);
    return operand;
  }

  IValue constant(const Node& node, const Argument& argument, const std::string& name,
                  const c10::TypePtr& type) {
    bool number =
        argument.kind == Kind::integer || argument.kind == Kind::number || argument.kind == Kind::boolean;
    bool scalar = type->kind() == c10::TypeKind::NumberType;
    switch (argument.kind) {
      case Kind::none:
        return {};
      case Kind::scalar_type: {
        if (!is_integer(type)) break;
        auto dtype = static_cast<at::ScalarType>(argument.integer);
        return static_cast<int64_t>(dtype == binding_.program_dtype ? binding_.dtype : dtype);
      }
      case Kind::layout:
      case Kind::memory_format:
        if (!is_integer(type)) break;
        return argument.integer;
      case Kind::device:
        if (type->kind() != c10::TypeKind::DeviceObjType) break;
        return binding_.device;
      case Kind::string:
        if (type->kind() != c10::TypeKind::StringType) break;
        return argument.text;
      default:
        break;
    }
    if (number && is_tensor(type)) return number_as_tensor(plain_value(argument));
    if (number && scalar) return plain_value(argument);
    if (argument.kind == Kind::boolean && is_boolean(type)) return argument.integer != 0;
    if (argument.kind == Kind::integer && is_integer(type)) return argument.integer;
    if (number && is_float(type))
      return argument.kind == Kind::number ? argument.number : static_cast<double>(argument.integer);
    mismatch(node, name, type);
  }

  Operand convert_list(const Node& node, const Argument& argument, const c10::Argument& wanted,
                       const c10::ListType& type, const Names& names) {
    Operand list;
    if (argument.kind == Kind::none) return list;
    auto element = type.getElementType();
    bool optional = element->kind() == c10::TypeKind::OptionalType;
    element = without_optional(element);
    list.kind = Operand::Kind::list;
    list.list = is_tensor(element)    ? optional ? Operand::List::optional_tensors : Operand::List::tensors
                : is_integer(element) ? Operand::List::integers
                : is_float(element)   ? Operand::List::numbers
                : is_boolean(element) ? Operand::List::booleans
                                      : Operand::List::none;
    if (list.list == Operand::List::none) mismatch(node, wanted.name(), wanted.type());
    if (argument.kind == Kind::list) {
      for (const auto& item : argument.items)
        list.items.push_back(convert_single(node, item, wanted.name(), element, names));
    } else {  // one number for all entries, as in kernel_size = 2
      auto one = convert_single(node, argument, wanted.name(), element, names);
      list.items.assign(static_cast<size_t>(std::clamp(wanted.N().value_or(1), 1, 8)), one);
    }
    return fixed_if_possible(std::move(list));
  }

  static Operand fixed_if_possible(Operand list) {
    std::vector<IValue> values;
    for (const auto& item : list.items) {
      if (item.kind != Operand::Kind::fixed) return list;
      values.push_back(item.value);
    }
    Operand fixed;
    fixed.value = make_list(list.list, values);
    return fixed;
  }

  // ---- what follows the run instead of the exporter

  static bool is_factory(const c10::FunctionSchema& schema) {
    const auto& arguments = schema.arguments();
    return std::none_of(arguments.begin(), arguments.end(), [](const c10::Argument& argument) {
      auto type = without_optional(argument.type());
      if (auto list = type->cast<c10::ListType>()) type = without_optional(list->getElementType());
      return is_tensor(type);
    });
  }

  // zeros, arange, ...: on the run's device, and in the dtype that the exporter saw, which libtorch would
  // otherwise take from a global default.
  void follow_run(const Node& node, const Graph& graph, const c10::FunctionSchema& schema,
                  std::vector<Operand>& operands) const {
    const auto& arguments = schema.arguments();
    for (size_t i = 0; i < arguments.size(); ++i) {
      if (arguments[i].name() == "device") operands[i].value = binding_.device;
      if (arguments[i].name() == "pin_memory") operands[i].value = IValue();
      if (!is_scalar_type(arguments[i]) || !operands[i].value.isNone() || node.outputs.empty()) continue;
      auto meta = graph.tensors.find(node.outputs[0].text);
      if (meta == graph.tensors.end()) continue;
      auto dtype = meta->second.dtype;
      operands[i].value = static_cast<int64_t>(dtype == binding_.program_dtype ? binding_.dtype : dtype);
    }
  }

  void follow_mode(const Node& node, const c10::FunctionSchema& schema, std::vector<Operand>& operands) {
    auto mode = mode_of(schema.name());
    if (schema.name() == "aten::lstm" || schema.name() == "aten::gru" || schema.name() == "aten::rnn_tanh" ||
        schema.name() == "aten::rnn_relu")
      plan_.recurrent = true;
    if (mode.how == ModeSwitch::none) return;
    auto index = schema.argumentIndexWithName(mode.argument);
    if (!index) return;
    auto& operand = operands[static_cast<size_t>(*index)];
    if (operand.kind != Operand::Kind::fixed) reject(node, fmt::format("{} must be given", mode.argument));
    bool normalizes_batch = mode.how == ModeSwitch::statistics && schema.name() != "aten::instance_norm";
    if (mode.how == ModeSwitch::statistics) {
      auto statistics = schema.argumentIndexWithName("running_mean");
      bool given = statistics && operands[static_cast<size_t>(*statistics)].kind == Operand::Kind::slot;
      if (!given) {
        plan_.fixed_batch_norm = plan_.fixed_batch_norm || normalizes_batch;
        return;
      }
      plan_.switchable_batch_norm = plan_.switchable_batch_norm || normalizes_batch;
    }
    operand.kind = Operand::Kind::mode;
    if (mode.how == ModeSwitch::rate) {
      operand.in_eval = 0.0;
    } else {
      operand.value = true;
      operand.in_eval = false;
    }
  }

  // ---- in-place updates

  static bool aliases(const c10::Argument& argument) { return argument.alias_info() != nullptr; }

  void note_mutations(const c10::FunctionSchema& schema, const std::vector<Operand>& operands) {
    for (size_t i = 0; i < operands.size(); ++i) {
      const auto* alias = schema.arguments()[i].alias_info();
      if (alias && alias->isWrite() && operands[i].kind == Operand::Kind::slot)
        mutated_.insert(root_[static_cast<size_t>(operands[i].slot)]);
    }
  }

  // A view has the root of what it is a view of, so that a write to it is known as a write to that.
  void note_aliases(const c10::FunctionSchema& schema, const Instruction& instruction) {
    const auto& arguments = schema.arguments();
    int source = -1;
    for (size_t i = 0; i < arguments.size() && source < 0; ++i)
      if (instruction.operands[i].kind == Operand::Kind::slot &&
          (aliases(arguments[i]) || (i == 0 && may_return_argument(schema.name()))))
        source = instruction.operands[i].slot;
    if (source < 0) return;
    int root = root_[static_cast<size_t>(source)];
    for (const auto& destination : instruction.destinations) {
      if (destination.slot >= 0) root_[static_cast<size_t>(destination.slot)] = root;
      for (int slot : destination.slots) root_[static_cast<size_t>(slot)] = root;
    }
  }

  void sort_mutations() {
    plan_.input_mutated.assign(plan_.inputs.size(), false);
    for (int slot : mutated_) {
      auto input = std::find(plan_.inputs.begin(), plan_.inputs.end(), slot);
      if (input != plan_.inputs.end())
        plan_.input_mutated[static_cast<size_t>(input - plan_.inputs.begin())] = true;
      auto spec = kinds_.find(slot);
      if (spec == kinds_.end()) continue;
      if (spec->second.kind == InputSpec::Kind::parameter)
        fail_data(fmt::format("{}: the program changes its parameter {} in place: not supported",
                              binding_.file, spec->second.target));
      (spec->second.kind == InputSpec::Kind::buffer ? plan_.mutated_buffers : plan_.mutated_constants)
          .push_back(slot);
    }
  }

  // ---- lifetimes

  static void collect(const Operand& operand, std::vector<int>& slots) {
    if (operand.kind == Operand::Kind::slot) slots.push_back(operand.slot);
    for (const auto& item : operand.items) collect(item, slots);
  }

  void find_dead_slots() {
    std::unordered_map<int, size_t> last;
    for (size_t i = 0; i < plan_.instructions.size(); ++i) {
      std::vector<int> used;
      for (const auto& operand : plan_.instructions[i].operands) collect(operand, used);
      for (const auto& destination : plan_.instructions[i].destinations) {
        if (destination.slot >= 0) used.push_back(destination.slot);
        used.insert(used.end(), destination.slots.begin(), destination.slots.end());
      }
      for (int slot : used) last[slot] = i;
    }
    for (int slot : plan_.outputs) last.erase(slot);
    for (const auto& update : plan_.buffer_updates) last.erase(update.first);
    for (auto [slot, i] : last) plan_.instructions[i].dead.push_back(slot);
  }

  const ProgramGraph& program_;
  const Binding& binding_;
  Plan plan_;
  std::unordered_map<int, InputSpec> kinds_;  // of slots that hold parameters, buffers and constants
  std::vector<int> root_;                     // of each slot: whose memory it may share
  std::set<int> mutated_;                     // roots that are written to
};

}  // namespace

IValue make_list(Operand::List kind, const std::vector<IValue>& values) {
  switch (kind) {
    case Operand::List::tensors:
      return list_of<at::Tensor>(values, [](const IValue& v) { return v.toTensor(); });
    case Operand::List::optional_tensors:
      return list_of<std::optional<at::Tensor>>(values, [](const IValue& v) {
        return v.isNone() ? std::optional<at::Tensor>() : std::optional<at::Tensor>(v.toTensor());
      });
    case Operand::List::integers:
      return list_of<int64_t>(values, [](const IValue& v) { return v.toInt(); });
    case Operand::List::numbers:
      return list_of<double>(
          values, [](const IValue& v) { return v.isInt() ? static_cast<double>(v.toInt()) : v.toDouble(); });
    case Operand::List::booleans:
      return list_of<bool>(values, [](const IValue& v) { return v.toBool(); });
    case Operand::List::none:
      break;
  }
  return {};
}

Plan compile(const ProgramGraph& program, const Binding& binding) {
  return Compiler(program, binding).compile();
}

}  // namespace osculant::exported
