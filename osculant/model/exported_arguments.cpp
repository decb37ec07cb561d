#include "osculant/model/exported_arguments.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "osculant/base/error.h"
#include "osculant/model/exported_operators.h"

namespace osculant::exported {

using c10::IValue;
using Kind = Argument::Kind;

namespace {

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

// A dtype, layout or memory format: an integer to the operator, which takes any for one there is.
std::optional<Kind> enumeration(const c10::Argument& argument) {
  switch (without_optional(argument.real_type())->kind()) {
    case c10::TypeKind::ScalarTypeType:
      return Kind::scalar_type;
    case c10::TypeKind::LayoutType:
      return Kind::layout;
    case c10::TypeKind::MemoryFormatType:
      return Kind::memory_format;
    default:
      return {};
  }
}

// What is written to is a tensor of the program's: a number would keep what one run writes to the next.
bool takes_number_as_tensor(const Wanted& wanted) {
  bool written = wanted.argument.alias_info() != nullptr && wanted.argument.alias_info()->isWrite();
  return is_tensor(wanted.type) && !written && takes_numbers_as_tensors(wanted.schema.name());
}

Tensor number_as_tensor(const IValue& number) {
  auto tensor = number.isDouble() ? at::scalar_tensor(number.toDouble(), at::kDouble)
                : number.isBool() ? at::scalar_tensor(number.toBool(), at::kBool)
                                  : at::scalar_tensor(number.toInt(), at::kLong);
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

bool is_factory(const c10::FunctionSchema& schema) {
  const auto& arguments = schema.arguments();
  return std::none_of(arguments.begin(), arguments.end(), [](const c10::Argument& argument) {
    auto type = without_optional(argument.type());
    if (auto list = type->cast<c10::ListType>()) type = without_optional(list->getElementType());
    return is_tensor(type);
  });
}

Operand fixed_if_possible(Operand list) {
  std::vector<IValue> values;
  for (const auto& item : list.items) {
    if (item.kind != Operand::Kind::fixed) return list;
    values.push_back(item.value);
  }
  Operand fixed;
  fixed.value = make_list(list.list, values);
  return fixed;
}

}  // namespace

c10::TypePtr without_optional(const c10::TypePtr& type) {
  if (auto optional = type->cast<c10::OptionalType>()) return optional->getElementType();
  return type;
}

bool is_tensor(const c10::TypePtr& type) {
  return type->kind() == c10::TypeKind::TensorType;
}

IValue plain_value(const Argument& argument) {
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

void ArgumentPlanner::reject(const Node& node, const std::string& why) const {
  fail_data(fmt::format("{}: node {} ({}): {}", binding_.file, node.name, node.target, why));
}

int ArgumentPlanner::slot_of(const Names& names, const std::string& name, const std::string& user) const {
  auto at = names.find(name);
  if (at == names.end())
    fail_data(fmt::format("{}: {} uses {}, which nothing before it computes", binding_.file, user, name));
  return at->second;
}

Operand ArgumentPlanner::plain_operand(const Node& node, const Argument& argument, const Names& names) const {
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

std::vector<Operand> ArgumentPlanner::operands(const Node& node, const Graph& graph,
                                               const c10::FunctionSchema& schema, const Names& names) const {
  std::vector<Operand> operands;
  for (const auto& argument : schema.arguments())
    operands.push_back(operand(node, {schema, argument, without_optional(argument.type())}, names));
  check_arguments(node, schema);
  if (is_factory(schema)) follow_run(node, graph, schema, operands);
  return operands;
}

void ArgumentPlanner::check_arguments(const Node& node, const c10::FunctionSchema& schema) const {
  for (const auto& input : node.inputs)
    if (!schema.argumentIndexWithName(input.first))
      reject(node, fmt::format("the operator has no argument {}", input.first));
}

Operand ArgumentPlanner::operand(const Node& node, const Wanted& wanted, const Names& names) const {
  for (const auto& [name, argument] : node.inputs)
    if (name == wanted.argument.name()) return convert(node, argument, wanted, names);
  Operand missing;
  if (wanted.argument.default_value())
    missing.value = *wanted.argument.default_value();
  else if (wanted.argument.type()->kind() != c10::TypeKind::OptionalType)
    reject(node, fmt::format("lacks the argument {}", wanted.argument.name()));
  return missing;
}

Operand ArgumentPlanner::convert(const Node& node, const Argument& argument, const Wanted& wanted,
                                 const Names& names) const {
  return wanted.type->cast<c10::ListType>() ? convert_list(node, argument, wanted, names)
                                            : convert_single(node, argument, wanted, names);
}

void ArgumentPlanner::mismatch(const Node& node, const Wanted& wanted) const {
  reject(node, fmt::format("argument {} does not fit the operator, which takes {}", wanted.argument.name(),
                           without_optional(wanted.argument.real_type())->str()));
}

Operand ArgumentPlanner::convert_single(const Node& node, const Argument& argument, const Wanted& wanted,
                                        const Names& names) const {
  Operand operand;
  if (argument.kind == Kind::value) {
    if (enumeration(wanted.argument)) mismatch(node, wanted);
    operand.kind = Operand::Kind::slot;
    operand.slot = slot_of(names, argument.text, node.name);
    if (takes_number_as_tensor(wanted)) operand.cast = Operand::Cast::tensor;
    if (is_float(wanted.type)) operand.cast = Operand::Cast::number;
    return operand;
  }
  operand.value = constant(node, argument, wanted);
  return operand;
}

IValue ArgumentPlanner::constant(const Node& node, const Argument& argument, const Wanted& wanted) const {
  const auto& type = wanted.type;
  auto one_of = enumeration(wanted.argument);
  if (one_of && argument.kind != Kind::none && argument.kind != *one_of) mismatch(node, wanted);
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
  if (number && takes_number_as_tensor(wanted)) return number_as_tensor(plain_value(argument));
  if (number && scalar) return plain_value(argument);
  if (argument.kind == Kind::boolean && is_boolean(type)) return argument.integer != 0;
  if (argument.kind == Kind::integer && is_integer(type)) return argument.integer;
  if (number && is_float(type))
    return argument.kind == Kind::number ? argument.number : static_cast<double>(argument.integer);
  mismatch(node, wanted);
}

Operand ArgumentPlanner::convert_list(const Node& node, const Argument& argument, const Wanted& wanted,
                                      const Names& names) const {
  Operand list;
  if (argument.kind == Kind::none) return list;
  auto element = wanted.type->expectRef<c10::ListType>().getElementType();
  bool optional = element->kind() == c10::TypeKind::OptionalType;
  element = without_optional(element);
  list.kind = Operand::Kind::list;
  list.list = is_tensor(element)    ? optional ? Operand::List::optional_tensors : Operand::List::tensors
              : is_integer(element) ? Operand::List::integers
              : is_float(element)   ? Operand::List::numbers
              : is_boolean(element) ? Operand::List::booleans
                                    : Operand::List::none;
  if (list.list == Operand::List::none) mismatch(node, wanted);
  const Wanted entry{wanted.schema, wanted.argument, element};
  if (argument.kind == Kind::list) {
    for (const auto& item : argument.items) list.items.push_back(convert_single(node, item, entry, names));
  } else {  // one number for all entries, as in kernel_size = 2
    auto one = convert_single(node, argument, entry, names);
    list.items.assign(static_cast<size_t>(std::clamp(wanted.argument.N().value_or(1), 1, 8)), one);
  }
  return fixed_if_possible(std::move(list));
}

// libtorch would otherwise take the dtype from a global default.
void ArgumentPlanner::follow_run(const Node& node, const Graph& graph, const c10::FunctionSchema& schema,
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

}  // namespace osculant::exported
