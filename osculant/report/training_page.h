#pragma once

#include <string>
#include <vector>

#include "osculant/report/html.h"
#include "osculant/report/record.h"

namespace osculant {

// metrics.jsonl: so many steps, and of a long run's an even choice.
struct StepLog {
  std::vector<Record> kept;
  size_t steps = 0, rejected = 0;
};

// Lines that cannot be read are left out: a run that was killed may end in half of one.
StepLog read_steps(const std::string& lines, size_t most = 20'000);

std::vector<std::string> training_summary(const Record& result, const StepLog& log);
std::vector<Section> training_sections(const Record& result, const StepLog& log);

}  // namespace osculant
