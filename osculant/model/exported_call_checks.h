#pragma once

#include <ATen/core/ivalue.h>

#include <string>
#include <string_view>
#include <vector>

namespace osculant::exported {

// Where libtorch takes sizes on trust and would reach beyond a tensor, use up the memory or never end: what
// is wrong with these arguments, or nothing. Null for an operator that checks for itself.
using CallCheck = std::string (*)(const std::vector<c10::IValue>& arguments);
CallCheck check_of(std::string_view name);

}  // namespace osculant::exported
