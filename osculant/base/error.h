#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace osculant {

// What went wrong, from the caller's point of view. The command line maps each kind to its exit code.
enum class ErrorKind {
  internal,   // a bug of ours
  usage,      // an option, argument or run file that cannot be meant
  data,       // a data or model file that is damaged, or does not fit
  memory,     // the work would not fit the memory budget; refused before it began
  numerical,  // a computation that cannot go on
  write,      // a result that cannot be written
};

// Thrown on misuse and on bad input, with a message that names the field or file, its value and what was
// expected. Numerical trouble inside an algorithm is a status in its result and never an exception.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

[[noreturn]] void fail(ErrorKind kind, const std::string& message);
[[noreturn]] inline void fail_usage(const std::string& message) {
  fail(ErrorKind::usage, message);
}
[[noreturn]] inline void fail_data(const std::string& message) {
  fail(ErrorKind::data, message);
}

// Checks of options: "damping = -1: must be >= 0". NaN fails every one of them.
void require_positive(std::string_view field, double value);
void require_non_negative(std::string_view field, double value);
void require_at_least(std::string_view field, double value, double minimum);
void require_between(std::string_view field, double value, double low, double high);  // low <= value <= high
void require_inside(std::string_view field, double value, double low, double high);   // low < value < high
[[noreturn]] void fail_option(std::string_view field, std::string_view value, std::string_view constraint);

}  // namespace osculant
