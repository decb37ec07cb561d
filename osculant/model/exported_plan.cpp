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

class Compiler {
 public:
  Compiler(const ProgramGraph& program, const Binding& binding)
      : program_(program), binding_(binding), arguments_(binding) {}

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
  int new_slot(IValue value = {}) {
    plan_.initial.push_back(std::move(value));
    root_.push_back(static_cast<int>(root_.size()));
    return root_.back();
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

  void bind_outputs(const Names& names) {
    if (program_.outputs.size() != program_.graph.outputs.size())
      fail_data(fmt::format("{}: {} outputs, but {} in its signature", binding_.file,
                            program_.graph.outputs.size(), program_.outputs.size()));
    for (const auto& spec : program_.outputs) {
      if (spec.kind == OutputSpec::Kind::ignored) continue;
      int slot = arguments_.slot_of(names, spec.value.text, "the output");
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
    if (node.inputs.empty()) arguments_.reject(node, "has no arguments");
    std::vector<Operand> operands{arguments_.plain_operand(node, node.inputs[0].second, names)};
    if (node.inputs.size() > 1)
      operands.push_back(arguments_.plain_operand(node, node.inputs[1].second, names));
    emit(Instruction::Kind::check, node, std::move(operands));
  }

  void compile_symbolic(const Node& node, SymbolicFunction function, Names& names) {
    std::vector<Operand> operands;
    for (const auto& [name, argument] : node.inputs)
      operands.push_back(arguments_.plain_operand(node, argument, names));
    emit(Instruction::Kind::symbolic, node, std::move(operands));
    plan_.instructions.back().symbolic = function;
    if (node.outputs.size() != 1) arguments_.reject(node, "must have one output");
    plan_.instructions.back().destinations.push_back(destination(node, node.outputs[0], names));
  }

  // A graph run with gradients off or on, without autocast, or for checkpointing: inlined.
  void compile_region(const Node& node, Names& names) {
    auto kind = node.target.substr(std::string_view(higher_order).size());
    bool sets_gradient_mode = kind == "wrap_with_set_grad_enabled";
    auto at = std::find_if(node.inputs.begin(), node.inputs.end(),
                           [](const auto& input) { return input.second.kind == Kind::graph; });
    if (at == node.inputs.end()) arguments_.reject(node, "has no graph");
    if (kind == "wrap_with_autocast") {
      bool enabled = node.inputs.size() < 3 || node.inputs[2].second.kind != Kind::boolean ||
                     node.inputs[2].second.integer != 0;
      if (enabled) arguments_.reject(node, "mixed precision (autocast): not supported; export without it");
    } else if (!sets_gradient_mode && kind != "tag_activation_checkpoint") {
      arguments_.reject(node, "control flow of this kind is not supported");
    }
    if (sets_gradient_mode) {
      if (node.inputs[0].second.kind != Kind::boolean)
        arguments_.reject(node, "its mode must be true or false");
      emit(Instruction::Kind::set_gradient_mode, node);
      plan_.instructions.back().gradient_mode = node.inputs[0].second.integer != 0;
    }
    inline_graph(node, *at->second.graph, static_cast<size_t>(at - node.inputs.begin()) + 1, names);
    if (sets_gradient_mode) emit(Instruction::Kind::restore_gradient_mode, node);
  }

  void inline_graph(const Node& node, const Graph& graph, size_t first_operand, Names& names) {
    if (first_operand + graph.inputs.size() > node.inputs.size())
      arguments_.reject(node, "lacks operands of its graph");
    Names inner;
    for (size_t i = 0; i < graph.inputs.size(); ++i) {
      if (graph.inputs[i].kind != Kind::value) continue;
      const auto& operand = node.inputs[first_operand + i].second;
      inner[graph.inputs[i].text] = operand.kind == Kind::value
                                        ? arguments_.slot_of(names, operand.text, node.name)
                                        : new_slot(plain_value(operand));
    }
    compile_graph(graph, inner);
    std::vector<std::string> given = flat_names(graph.outputs), taken = flat_names(node.outputs);
    if (given.size() != taken.size()) arguments_.reject(node, "takes other outputs than its graph has");
    for (size_t i = 0; i < taken.size(); ++i)
      if (!taken[i].empty()) names[taken[i]] = arguments_.slot_of(inner, given[i], node.name);
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
    if (!name) arguments_.reject(node, "not an operator that exported programs may call");
    const auto& extra = binding_.allowed_operators;
    bool writes_out = name->overload == "out" || name->overload.ends_with("_out");
    if (writes_out ||
        (!is_allowed(name->name) && std::find(extra.begin(), extra.end(), name->name) == extra.end()))
      arguments_.reject(
          node, fmt::format("operator {} is not on the list of those that exported programs may call; if you "
                            "trust the file, add \"{}\" to ExportedOptions::allowed_operators",
                            name->name, name->name));
    auto op = c10::Dispatcher::singleton().findSchema({name->name, name->overload});
    if (!op) arguments_.reject(node, "this libtorch has no such operator");
    return *op;
  }

  void compile_call(const Node& node, const Graph& graph, Names& names) {
    auto op = resolve(node);
    const auto& schema = op.schema();
    auto operands = arguments_.operands(node, graph, schema, names);
    follow_mode(node, schema, operands);
    note_mutations(schema, operands);

    emit(Instruction::Kind::call, node, std::move(operands));
    auto& instruction = plan_.instructions.back();
    instruction.op = op;
    instruction.check = check_of(schema.name());
    if (node.outputs.size() != schema.returns().size())
      arguments_.reject(
          node, fmt::format("has {} outputs, the operator {}", node.outputs.size(), schema.returns().size()));
    for (const auto& output : node.outputs)
      instruction.destinations.push_back(destination(node, output, names));
    note_aliases(schema, instruction);
  }

  Destination destination(const Node& node, const Argument& output, Names& names) {
    Destination destination;
    if (output.kind == Kind::value) {
      destination.slot = names[output.text] = new_slot();
    } else if (output.kind == Kind::list) {
      destination.is_list = true;
      for (const auto& item : output.items) {
        if (item.kind != Kind::value) arguments_.reject(node, "an output that is no tensor");
        destination.slots.push_back(names[item.text] = new_slot());
      }
    } else if (output.kind != Kind::none) {
      arguments_.reject(node, "an output that is no tensor");
    }
    return destination;
  }

  // ---- what follows the run's mode instead of the exporter's

  void follow_mode(const Node& node, const c10::FunctionSchema& schema, std::vector<Operand>& operands) {
    auto mode = mode_of(schema.name());
    if (schema.name() == "aten::lstm" || schema.name() == "aten::gru" || schema.name() == "aten::rnn_tanh" ||
        schema.name() == "aten::rnn_relu")
      plan_.recurrent = true;
    if (mode.how == ModeSwitch::none) return;
    auto index = schema.argumentIndexWithName(mode.argument);
    if (!index) return;
    auto& operand = operands[static_cast<size_t>(*index)];
    if (operand.kind != Operand::Kind::fixed)
      arguments_.reject(node, fmt::format("{} must be given", mode.argument));
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
  ArgumentPlanner arguments_;
  Plan plan_;
  std::unordered_map<int, InputSpec> kinds_;  // of slots that hold parameters, buffers and constants
  std::vector<int> root_;                     // of each slot: whose memory it may share
  std::set<int> mutated_;                     // roots that are written to
};

}  // namespace

Plan compile(const ProgramGraph& program, const Binding& binding) {
  return Compiler(program, binding).compile();
}

}  // namespace osculant::exported
