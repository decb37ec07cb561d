#pragma once

#include <ATen/core/ivalue.h>

#include <string>
#include <vector>

namespace osculant::exported {

// Arithmetic on symbolic sizes, as Python's operators do it: integers, floats and booleans, floor division
// towards minus infinity, no overflow.
using SymbolicFunction = c10::IValue (*)(const std::vector<c10::IValue>& arguments);

// nullptr for a target ("_operator.mul", "torch.sym_max", "math.trunc") that is not one of them.
SymbolicFunction symbolic_function(const std::string& target);

}  // namespace osculant::exported
