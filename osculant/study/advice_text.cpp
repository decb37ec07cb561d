#include <fmt/format.h>

#include <cmath>

#include "osculant/base/text.h"
#include "osculant/study/advice_record.h"

namespace osculant {
namespace {

std::string seconds_text(double seconds) {
  return std::isnan(seconds) ? "unknown" : format_seconds(seconds);
}

std::string number_text(const IntervalRecord& x) {
  if (std::isnan(x.low)) return format_number(x.value) + " (error unknown)";
  bool whole = x.low == x.high && x.value == std::round(x.value) && std::abs(x.value) < 1e15;
  return whole ? format_count(static_cast<int64_t>(x.value)) : words_of(x);
}

std::string ranking_text(const AdviceRecord& advice) {
  TextTable table({"", "method", "batch", "a step (ge)", "a step", "memory", "why"});
  int place = 0;
  for (const auto& choice : advice.ranking) {
    ++place;
    table.add({choice.runs ? std::to_string(place) : "-", choice.method, choice.batch_size,
               format_number(choice.gradient_equivalents), seconds_text(choice.seconds),
               format_bytes(static_cast<int64_t>(choice.bytes)),
               choice.runs ? choice.reason : "cannot run: " + choice.reason});
  }
  return table.str();
}

std::string facts_text(const AdviceRecord& advice) {
  std::string out;
  for (const auto& fact : advice.facts)
    out += fmt::format("  {}: {} {}\n", fact.name, number_text(fact.number), fact.words);
  return out;
}

std::string race_text(const AdviceRecord& advice) {
  std::string out;
  for (size_t i = 0; i < advice.rounds.size(); ++i) {
    const auto& round = advice.rounds[i];
    out += fmt::format("\nRace, round {}: {} each\n", i + 1, round.budget);
    TextTable table({"method", advice.metric, "seconds", "ge", ""});
    for (const auto& contender : round.contenders)
      table.add({contender.label, std::isnan(contender.value) ? "broke down" : format_number(contender.value),
                 format_number(contender.seconds), format_number(contender.gradient_equivalents),
                 contender.kept ? "goes on" : ""});
    out += table.str();
  }
  return out;
}

}  // namespace

std::string to_text(const AdviceRecord& advice) {
  std::string out = "\nAdvice: " + advice.words + "\n";
  if (!advice.remedies.empty()) out += "\nTo be mended first\n";
  for (const auto& remedy : advice.remedies) out += "  " + remedy + "\n";
  out += "\nWhat it rests on\n" + facts_text(advice);
  out += "\nMethods, best first: a prior from races on other problems" +
         std::string(advice.rounds.empty() ? "" : ", the race's winner before it") + "\n" +
         ranking_text(advice);
  out += race_text(advice);
  return out + fmt::format("\nRun it: osculant train {} in the results\n", advice.run_file);
}

}  // namespace osculant
