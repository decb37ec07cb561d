#pragma once

#include <string>
#include <string_view>

namespace osculant {

// Text that is safe to print: control characters other than newlines and tabs, which a file's names may hold,
// become '?'.
std::string printable(std::string_view text);

}  // namespace osculant
