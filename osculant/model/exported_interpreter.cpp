#include "osculant/model/exported_interpreter.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include "osculant/base/error.h"
#include "osculant/model/exported_plan.h"

namespace osculant::exported {
namespace {

using c10::IValue;
using Slots = std::vector<IValue>;

// IValues of symbolic sizes that are plain numbers after all.
IValue plain(IValue value) {
  if (value.isSymInt()) return value.toSymInt().guard_int(__FILE__, __LINE__);
  if (value.isSymFloat()) return value.toSymFloat().guard_float(__FILE__, __LINE__);
  if (value.isSymBool()) return value.toSymBool().guard_bool(__FILE__, __LINE__);
  return value;
}

IValue cast(const IValue& value, Operand::Cast to) {
  if (to == Operand::Cast::none || value.isTensor() || value.isNone()) return value;
  if (to == Operand::Cast::number) return value.isInt() ? IValue(static_cast<double>(value.toInt())) : value;
  auto tensor = value.isDouble() ? torch::scalar_tensor(value.toDouble(), at::kDouble)
                : value.isBool() ? torch::scalar_tensor(value.toBool(), at::kBool)
                                 : torch::scalar_tensor(value.toInt(), at::kLong);
  tensor.unsafeGetTensorImpl()->set_wrapped_number(true);
  return tensor;
}

class Run {
 public:
  Run(const Plan& plan, const std::vector<Tensor>& inputs, bool training)
      : plan_(plan), training_(training), slots_(plan.initial) {
    for (size_t i = 0; i < inputs.size(); ++i)
      slots_[index(plan.inputs[i])] = plan.input_mutated[i] ? inputs[i].clone() : inputs[i];
    for (int slot : plan.mutated_constants) replace_by_copy(slot);
    if (!training)
      for (int slot : plan.mutated_buffers) replace_by_copy(slot);
  }

  std::vector<Tensor> operator()() {
    c10::AutoGradMode restores_at_the_end(entry_mode_);
    for (const auto& instruction : plan_.instructions) {
      try {
        execute(instruction);
      } catch (const c10::Error& error) {
        explain(instruction, error.what_without_backtrace());
      } catch (const Error& error) {
        fail(error.kind(), fmt::format("{}: node {} ({}): {}", plan_.file, instruction.node,
                                       instruction.target, error.what()));
      } catch (const std::exception& error) {
        explain(instruction, error.what());
      }
      for (int slot : instruction.dead) slots_[index(slot)] = IValue();
    }
    if (training_) update_buffers();
    std::vector<Tensor> outputs;
    for (int slot : plan_.outputs) outputs.push_back(tensor_in(slot, "an output"));
    return outputs;
  }

 private:
  static size_t index(int slot) { return static_cast<size_t>(slot); }

  void replace_by_copy(int slot) {
    auto& value = slots_[index(slot)];
    value = value.toTensor().clone();
  }

  Tensor tensor_in(int slot, const char* what) const {
    const auto& value = slots_[index(slot)];
    if (!value.isTensor() || !value.toTensor().defined())
      fail_data(fmt::format("{}: {} is no tensor", plan_.file, what));
    return value.toTensor();
  }

  void update_buffers() {
    torch::NoGradGuard no_grad;
    for (const auto& [slot, buffer] : plan_.buffer_updates) {
      Tensor value = tensor_in(slot, "the new value of a buffer");
      if (value.sizes() != buffer.sizes())
        fail_data(fmt::format("{}: the new value of a buffer has shape [{}], the buffer [{}]", plan_.file,
                              fmt::join(value.sizes(), ", "), fmt::join(buffer.sizes(), ", ")));
      Tensor(buffer).copy_(value);
    }
  }

  [[noreturn]] void explain(const Instruction& instruction, std::string why) {
    bool memory =
        why.find("not enough memory") != std::string::npos || why.find("out of memory") != std::string::npos;
    fail(memory ? ErrorKind::memory : ErrorKind::data,
         fmt::format("{}: node {} ({}): {}", plan_.file, instruction.node, instruction.target, why));
  }

  void execute(const Instruction& instruction) {
    switch (instruction.kind) {
      case Instruction::Kind::call:
        return call(instruction);
      case Instruction::Kind::symbolic:
        return compute(instruction);
      case Instruction::Kind::check:
        return check(instruction);
      case Instruction::Kind::set_gradient_mode:
        gradient_modes_.push_back(c10::GradMode::is_enabled());
        // A caller that wants no gradients at all gets none.
        return c10::GradMode::set_enabled(instruction.gradient_mode && entry_mode_);
      case Instruction::Kind::restore_gradient_mode:
        c10::GradMode::set_enabled(gradient_modes_.back());
        return gradient_modes_.pop_back();
    }
  }

  void call(const Instruction& instruction) {
    stack_.clear();
    for (const auto& operand : instruction.operands) stack_.push_back(evaluate(operand));
    if (instruction.check)
      if (std::string wrong = instruction.check(stack_); !wrong.empty()) fail_data(wrong);
    instruction.op->callBoxed(stack_);
    for (size_t i = 0; i < instruction.destinations.size(); ++i)
      store(instruction.destinations[i], stack_[i]);
  }

  void store(const Destination& destination, IValue& value) {
    if (!destination.is_list) {
      if (destination.slot >= 0) slots_[index(destination.slot)] = plain(std::move(value));
      return;
    }
    const auto tensors = value.toTensorList();
    if (tensors.size() != destination.slots.size())
      fail_data(fmt::format("returned {} tensors where the program has {}", tensors.size(),
                            destination.slots.size()));
    for (size_t i = 0; i < destination.slots.size(); ++i)
      slots_[index(destination.slots[i])] = Tensor(tensors[i]);
  }

  void compute(const Instruction& instruction) {
    std::vector<IValue> arguments;
    for (const auto& operand : instruction.operands) arguments.push_back(evaluate(operand));
    for (const auto& argument : arguments)
      if (!argument.isInt() && !argument.isDouble() && !argument.isBool()) fail_data("takes numbers alone");
    slots_[index(instruction.destinations[0].slot)] = instruction.symbolic(arguments);
  }

  void check(const Instruction& instruction) {
    auto value = evaluate(instruction.operands[0]);
    bool holds = value.isBool() ? value.toBool() : value.isInt() ? value.toInt() != 0 : true;
    if (holds) return;
    auto message = instruction.operands.size() > 1 ? evaluate(instruction.operands[1]) : IValue();
    fail_data(fmt::format("a check of the program failed: {}",
                          message.isString() ? message.toStringRef() : "no message"));
  }

  IValue evaluate(const Operand& operand) const {
    switch (operand.kind) {
      case Operand::Kind::fixed:
        return operand.value;
      case Operand::Kind::mode:
        return training_ ? operand.value : operand.in_eval;
      case Operand::Kind::slot:
        return cast(slots_[index(operand.slot)], operand.cast);
      case Operand::Kind::list:
        return list(operand);
    }
    return {};
  }

  IValue list(const Operand& operand) const {
    std::vector<IValue> values;
    values.reserve(operand.items.size());
    for (const auto& item : operand.items) values.push_back(evaluate(item));
    return make_list(operand.list, values);
  }

  const Plan& plan_;
  bool training_;
  bool entry_mode_ = c10::GradMode::is_enabled();
  Slots slots_;
  torch::jit::Stack stack_;
  std::vector<bool> gradient_modes_;
};

}  // namespace

Interpreter::Interpreter(const ProgramGraph& program, Binding binding)
    : plan_(std::make_unique<const Plan>(compile(program, binding))) {}
Interpreter::~Interpreter() = default;

std::vector<Tensor> Interpreter::run(const std::vector<Tensor>& inputs, bool training) const {
  if (inputs.size() != plan_->inputs.size())
    fail_data(fmt::format("{}: takes {} inputs, got {}", plan_->file, plan_->inputs.size(), inputs.size()));
  return Run(*plan_, inputs, training)();
}

bool Interpreter::couples_examples(bool training) const {
  return plan_->fixed_batch_norm || (training && plan_->switchable_batch_norm);
}

bool Interpreter::recurrent() const {
  return plan_->recurrent;
}

}  // namespace osculant::exported
