#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/ivalue.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "osculant/model/exported_arguments.h"
#include "osculant/model/exported_call_checks.h"
#include "osculant/model/exported_graph.h"
#include "osculant/model/exported_interpreter.h"
#include "osculant/model/exported_symbolic.h"

namespace osculant::exported {

// A program compiled to a flat list of instructions over numbered slots. Nested graphs are inlined.

// Where a returned value goes: one slot (-1: nowhere), or a slot for each entry of a list.
struct Destination {
  int slot = -1;
  bool is_list = false;
  std::vector<int> slots;
};

struct Instruction {
  enum class Kind { call, symbolic, set_gradient_mode, restore_gradient_mode, check };
  Kind kind = Kind::call;
  std::string node, target;
  std::optional<c10::OperatorHandle> op;
  CallCheck check = nullptr;  // of the arguments of `op`
  SymbolicFunction symbolic = nullptr;
  bool gradient_mode = true;
  std::vector<Operand> operands;
  std::vector<Destination> destinations;
  std::vector<int> dead;  // slots that nothing reads any more
};

struct Plan {
  std::string file;
  std::vector<Instruction> instructions;
  std::vector<c10::IValue> initial;  // parameters, buffers, constants in their slots; the others empty
  std::vector<int> inputs;           // slots of the user's inputs
  std::vector<bool> input_mutated;   // in place: then a copy is handed in
  std::vector<int> outputs;
  std::vector<int> mutated_buffers;                        // slots updated in place
  std::vector<int> mutated_constants;                      // the same; copies in every mode
  std::vector<std::pair<int, at::Tensor>> buffer_updates;  // returned new values of buffers
  bool switchable_batch_norm = false, fixed_batch_norm = false, recurrent = false;
};

// Throws Error(data) naming node and operator for what cannot be run.
Plan compile(const ProgramGraph& program, const Binding& binding);

}  // namespace osculant::exported
