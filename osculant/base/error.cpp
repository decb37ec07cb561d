#include "osculant/base/error.h"

#include <fmt/format.h>

namespace osculant {

void fail(ErrorKind kind, const std::string& message) {
  throw Error(kind, message);
}

void fail_option(std::string_view field, std::string_view value, std::string_view constraint) {
  fail_usage(fmt::format("{} = {}: must be {}", field, value, constraint));
}

namespace {
void require(bool holds, std::string_view field, double value, const std::string& constraint) {
  if (!holds) fail_option(field, fmt::format("{}", value), constraint);
}
}  // namespace

void require_positive(std::string_view field, double value) {
  require(value > 0, field, value, "> 0");
}

void require_non_negative(std::string_view field, double value) {
  require(value >= 0, field, value, ">= 0");
}

void require_at_least(std::string_view field, double value, double minimum) {
  require(value >= minimum, field, value, fmt::format(">= {}", minimum));
}

void require_between(std::string_view field, double value, double low, double high) {
  require(value >= low && value <= high, field, value, fmt::format("between {} and {}", low, high));
}

void require_inside(std::string_view field, double value, double low, double high) {
  require(value > low && value < high, field, value,
          fmt::format("between {} and {}, both excluded", low, high));
}

}  // namespace osculant
