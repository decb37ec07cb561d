#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "osculant/study/interval_record.h"

namespace osculant {

// What osculant advise found: "advice" of result.json (docs/result-format.md).
struct AdviceRecord {
  // One number that the advice rests on, and what it means; the interval is a point where it was counted.
  struct Fact {
    std::string name;
    IntervalRecord number;
    std::string words;
  };
  struct Choice {
    std::string method;
    std::string batch_size;
    bool runs = true;
    std::string reason;
    double bytes = 0, gradient_equivalents = 0, seconds = 0;  // of a step; as foreseen
  };
  // A round of the race: equal budgets for all, the better half goes on.
  struct Contender {
    std::string label;  // "soap, learning_rate = 0.003"
    std::string method;
    double value = 0;  // of the metric at the end; NaN: it broke down
    double seconds = 0, gradient_equivalents = 0;
    bool kept = false;
  };
  struct Round {
    std::string budget;
    std::vector<Contender> contenders;  // best first
  };

  std::vector<std::string> remedies;  // what to mend before any method is chosen
  std::vector<Choice> ranking;        // best first
  std::vector<Fact> facts;
  std::string metric;          // of the race
  std::vector<Round> rounds;   // of the race; empty without one
  std::string winner;          // of the race, with its options
  std::string initialization;  // "critical.safetensors" in the results, where that was written
  std::string run_file;        // "advised.toml" in the results
  std::string words;           // in a sentence
};

std::string to_text(const AdviceRecord& advice);

template <class Fields>
void visit(Fields& fields, AdviceRecord::Fact& fact) {
  fields("name", fact.name);
  fields("value", fact.number.value);
  fields("low", fact.number.low);
  fields("high", fact.number.high);
  fields("words", fact.words);
}

template <class Fields>
void visit(Fields& fields, AdviceRecord::Choice& choice) {
  fields("method", choice.method);
  fields("batch_size", choice.batch_size);
  fields("runs", choice.runs);
  fields("reason", choice.reason);
  fields("bytes", choice.bytes);
  fields("gradient_equivalents", choice.gradient_equivalents);
  fields("seconds", choice.seconds);
}

template <class Fields>
void visit(Fields& fields, AdviceRecord::Contender& contender) {
  fields("label", contender.label);
  fields("method", contender.method);
  fields("value", contender.value);
  fields("seconds", contender.seconds);
  fields("gradient_equivalents", contender.gradient_equivalents);
  fields("kept", contender.kept);
}

template <class Fields>
void visit(Fields& fields, AdviceRecord::Round& round) {
  fields("budget", round.budget);
  fields("contenders", round.contenders);
}

template <class Fields>
void visit(Fields& fields, AdviceRecord& advice) {
  fields("words", advice.words);
  fields("remedies", advice.remedies);
  fields("ranking", advice.ranking);
  fields("facts", advice.facts);
  fields("run_file", advice.run_file);
  fields("initialization", advice.initialization);
  fields("metric", advice.metric);
  fields("rounds", advice.rounds);
  fields("winner", advice.winner);
}

}  // namespace osculant
