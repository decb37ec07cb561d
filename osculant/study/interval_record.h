#pragma once

#include <string>

namespace osculant {

struct IntervalRecord {
  double value = 0, low = 0, high = 0;
};

// "1.2 (1.1 to 1.3)", the value alone where the interval is a point, "unknown".
std::string words_of(const IntervalRecord& x);

}  // namespace osculant
