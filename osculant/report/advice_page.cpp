#include "osculant/report/advice_page.h"

#include <fmt/format.h>

#include <cmath>

#include "osculant/base/text.h"
#include "osculant/report/flow_page.h"

namespace osculant {
namespace {

std::string bytes_of(const Record& record) {
  double bytes = number(record, "bytes");
  return std::isnan(bytes) ? "unknown" : format_bytes(whole(bytes));
}

std::string seconds_of(const Record& record) {
  double seconds = number(record, "seconds");
  return std::isnan(seconds) ? "unknown" : format_seconds(seconds);
}

Section ranking_section(const Record& advice) {
  Section section{"methods", "The methods, best first", ""};
  HtmlTable able("What a step is foreseen to cost, and why a method stands where it stands",
                 {"method", "why", "batch", "gradient equivalents", "a step", "memory"}, 2);
  HtmlTable unable("Methods that cannot run on this problem", {"method", "why"}, 2);
  for (const auto& choice : part(advice, "ranking")) {
    if (choice.value("runs", true))
      able.add({text(choice, "method"), text(choice, "reason"), text(choice, "batch_size"),
                shown(choice, "gradient_equivalents"), seconds_of(choice), bytes_of(choice)});
    else
      unable.add({text(choice, "method"), text(choice, "reason")});
  }
  section.body = able.str();
  section.body += paragraph(
      "The order is a prior from races on other problems, but for a race's winner. A gradient equivalent is "
      "one "
      "gradient over all examples.");
  if (!unable.empty()) section.body += unable.str();
  return section;
}

Section facts_section(const Record& advice) {
  Section section{"facts", "What the advice rests on", ""};
  HtmlTable table("Counted, or measured on this machine; intervals are bounds or of 95 %",
                  {"fact", "what it is", "value"}, 2);
  for (const auto& fact : part(advice, "facts"))
    table.add({text(fact, "name"), text(fact, "words"), interval(fact)});
  section.body = table.str();
  return section;
}

Section race_section(const Record& advice) {
  Section section{"race", "The race", ""};
  int round = 0;
  for (const auto& one : part(advice, "rounds")) {
    HtmlTable table(fmt::format("Round {}: {} each; the better half goes on", ++round, text(one, "budget")),
                    {"method", "", text(advice, "metric"), "seconds", "gradient equivalents"}, 2);
    for (const auto& contender : part(one, "contenders"))
      table.add({text(contender, "label"), contender.value("kept", false) ? "goes on" : "",
                 shown(contender, "value"), shown(contender, "seconds"),
                 shown(contender, "gradient_equivalents")});
    section.body += table.str();
  }
  section.body += paragraph(
      "Budgets double from round to round, and each round begins anew. One run of each: how far another seed "
      "or machine would shift it is unknown; osculant compare repeats it over seeds.");
  return section;
}

}  // namespace

std::vector<std::string> advice_summary(const Record& result) {
  const Record& advice = part(result, "advice");
  std::vector<std::string> words{text(advice, "words")};
  for (const auto& remedy : part(advice, "remedies"))
    if (remedy.is_string()) words.push_back(remedy.get<std::string>());
  words.push_back(
      fmt::format("Run it: osculant train {}, which lies beside this page.", text(advice, "run_file")));
  return words;
}

std::vector<Section> advice_sections(const Record& result) {
  const Record& advice = part(result, "advice");
  std::vector<Section> sections{ranking_section(advice), facts_section(advice)};
  if (!part(advice, "rounds").empty()) sections.push_back(race_section(advice));
  add_flow_section(sections, result);
  return sections;
}

}  // namespace osculant
