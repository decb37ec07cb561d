#pragma once

#include <string_view>

namespace osculant::exported {

// How an operator follows train() and eval(), through one of its arguments.
enum class ModeSwitch {
  none,
  flag,        // a boolean that is the mode
  statistics,  // a boolean that is the mode where running statistics are given; without them it stays as
               // exported
  rate,        // a probability of dropping: 0 in eval mode, as exported in training mode
};

struct OperatorMode {
  ModeSwitch how = ModeSwitch::none;
  std::string_view argument;
};

// True for the ATen operators ("aten::linear", without overload) that exported programs may call. They
// compute with tensors and nothing else: none reads files, loads code or reaches beyond the tensors it is
// given.
bool is_allowed(std::string_view name);

OperatorMode mode_of(std::string_view name);

// Where Python, too, takes a number for a tensor, which then has no say in the result's dtype. Elsewhere
// libtorch's kernels do not reckon with one: a reduction takes its dtype for double and its copy for float,
// and reads beyond the copy.
bool takes_numbers_as_tensors(std::string_view name);

// Operators that may hand back their first argument itself although their schema does not say so.
bool may_return_argument(std::string_view name);

}  // namespace osculant::exported
