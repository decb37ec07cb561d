#pragma once

#include <ATen/core/function_schema.h>
#include <ATen/core/ivalue.h>

#include <string>
#include <unordered_map>
#include <vector>

#include "osculant/model/exported_graph.h"
#include "osculant/model/exported_interpreter.h"

namespace osculant::exported {

// How the arguments of a program's node become what an operator takes.

struct Operand {
  enum class Kind {
    fixed,  // `value`
    mode,   // `value` in training mode, `in_eval` in eval mode
    slot,
    list,  // of operands
  };
  enum class Cast { none, tensor, number };  // of a symbolic number, to what the operator takes
  enum class List { none, tensors, optional_tensors, integers, numbers, booleans };

  Kind kind = Kind::fixed;
  c10::IValue value, in_eval;
  int slot = -1;
  Cast cast = Cast::none;
  List list = List::none;
  std::vector<Operand> items;
};

// Values as the list that an operator takes.
c10::IValue make_list(Operand::List kind, const std::vector<c10::IValue>& values);

// Slots of the values that a node may use.
using Names = std::unordered_map<std::string, int>;

c10::TypePtr without_optional(const c10::TypePtr& type);
bool is_tensor(const c10::TypePtr& type);

// A number, flag or text; none for anything else.
c10::IValue plain_value(const Argument& argument);

// What an operator takes in one place, of a list what its entries are.
struct Wanted {
  const c10::FunctionSchema& schema;
  const c10::Argument& argument;
  c10::TypePtr type;  // without `optional`
};

// Throws Error(data) naming node and operator for what does not fit.
class ArgumentPlanner {
 public:
  explicit ArgumentPlanner(const Binding& binding) : binding_(binding) {}

  [[noreturn]] void reject(const Node& node, const std::string& why) const;
  int slot_of(const Names& names, const std::string& name, const std::string& user) const;

  // A value or a number, where there is no schema to say more.
  Operand plain_operand(const Node& node, const Argument& argument, const Names& names) const;

  // One for each argument of the operator. What an operator without tensor arguments makes (zeros, arange) is
  // on the run's device, and in its dtype where the exporter saw the program's.
  std::vector<Operand> operands(const Node& node, const Graph& graph, const c10::FunctionSchema& schema,
                                const Names& names) const;

 private:
  void check_arguments(const Node& node, const c10::FunctionSchema& schema) const;
  Operand operand(const Node& node, const Wanted& wanted, const Names& names) const;
  Operand convert(const Node& node, const Argument& argument, const Wanted& wanted, const Names& names) const;
  Operand convert_single(const Node& node, const Argument& argument, const Wanted& wanted,
                         const Names& names) const;
  Operand convert_list(const Node& node, const Argument& argument, const Wanted& wanted,
                       const Names& names) const;
  c10::IValue constant(const Node& node, const Argument& argument, const Wanted& wanted) const;
  [[noreturn]] void mismatch(const Node& node, const Wanted& wanted) const;
  void follow_run(const Node& node, const Graph& graph, const c10::FunctionSchema& schema,
                  std::vector<Operand>& operands) const;

  const Binding& binding_;
};

}  // namespace osculant::exported
