#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "osculant/model/exported_graph.h"

namespace osculant::exported {

using at::Tensor;

struct Plan;

// What the graph's inputs other than the user's stand for, and where and in which precision it runs.
struct Binding {
  std::string file;  // named in errors
  at::Device device = at::kCPU;
  at::ScalarType program_dtype = at::kFloat;  // the floating dtype the program was exported in
  at::ScalarType dtype = at::kFloat;  // the one it runs in; takes the other's place wherever a node names it
  std::unordered_map<std::string, Tensor> tensors;  // parameters, buffers, constants, by the spec's target
  std::vector<std::string> allowed_operators;       // beyond the table, "aten::name"
};

// An exported program ready to run: its operators resolved, its arguments in the form the operators take
// them, its values numbered. Autograd records what it calls, as it would for any other forward pass.
class Interpreter {
 public:
  Interpreter(const ProgramGraph& program, Binding binding);
  ~Interpreter();

  // User inputs in order, to user outputs. In training mode buffers are updated as the program says; in eval
  // mode updates are made to copies and forgotten.
  std::vector<Tensor> run(const std::vector<Tensor>& inputs, bool training) const;

  bool couples_examples(bool training) const;  // batch norm over the batch's own statistics
  bool recurrent() const;                      // has lstm, gru or rnn operators

 private:
  std::unique_ptr<const Plan> plan_;
};

}  // namespace osculant::exported
