#pragma once

#include <map>
#include <string>
#include <vector>

#include "osculant/study/result.h"

namespace osculant {

// The middle value (the mean of the middle two), the smallest and the largest; NaN counts as infinity.
SpreadRecord spread(std::vector<double> values);

// Judges the race of `comparison`, interrupted runs left out: fills its verdict, best first, and says it in a
// sentence. With a target a method that reaches it in less (time where the budget is a time, else gradient
// equivalents; medians over seeds) is better, and where medians are infinite the better end value decides;
// without one the end value does. `tuned` says of each method what was tuned.
void judge(ComparisonRecord& comparison, const std::map<std::string, std::string>& tuned);

// Tables for a person.
std::string to_text(const ComparisonRecord& comparison);

}  // namespace osculant
