#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "osculant/base/text.h"
#include "osculant/cli/command.h"
#include "osculant/cli/terminal.h"
#include "osculant/optim/methods.h"

namespace osculant::cli {
namespace {

std::string table_text() {
  TextTable table({"method", "what it is", "cost of a step (ge)"});
  for (const auto& method : method_table()) table.add({method.name, method.summary, method.cost.text});
  return table.str("") +
         "\n1 ge is one gradient over the whole training set; n parameters, N examples, b a batch.\n"
         "osculant methods NAME shows one with its options.\n";
}

std::string method_text(const MethodInfo& method) {
  std::string out = fmt::format(
      "{}: {}\n  step     {}\n  source   {}\n  memory   {}\n  cost     {} ge a step\n  tuned    {}\n\n"
      "Options (train.options.NAME):\n",
      method.name, method.summary, method.formula, method.citation, method.memory.text, method.cost.text,
      method.tuned.empty() ? "nothing" : method.tuned);
  TextTable table({"option", "default", "must be", "what it does"});
  for (const auto& option : method.options)
    table.add({option.name, option.default_value, option.constraint, option.doc});
  return out + table.str();
}

nlohmann::ordered_json record_of(const MethodInfo& method) {
  nlohmann::ordered_json options = nlohmann::ordered_json::array();
  for (const auto& option : method.options)
    options.push_back({{"name", option.name},
                       {"default", option.default_value},
                       {"constraint", option.constraint},
                       {"words", option.doc}});
  return {{"name", method.name},          {"summary", method.summary},
          {"formula", method.formula},    {"citation", method.citation},
          {"memory", method.memory.text}, {"cost", method.cost.text},
          {"tuned", method.tuned},        {"options", options}};
}

int list(const std::string& name, bool json) {
  if (json) {
    auto records = nlohmann::ordered_json::array();
    for (const auto& method : method_table())
      if (name.empty() || method.name == name) records.push_back(record_of(method));
    if (!name.empty()) find_method(name);  // throws for one that is not there
    print_out(records.dump(2) + "\n");
  } else {
    print_out(name.empty() ? table_text() : method_text(find_method(name)));
  }
  return exit_done;
}

}  // namespace

void add_methods(CLI::App& tool, int& status) {
  CLI::App* command =
      tool.add_subcommand("methods", "the table of methods, or one with its options and formulas");
  auto name = std::make_shared<std::string>();
  auto json = std::make_shared<bool>(false);
  command->add_option("NAME", *name, "one method");
  command->add_flag("--json", *json, "as JSON");
  command->footer("Example:\n  osculant methods hessian_free");
  command->callback([name, json, &status] { status = list(*name, *json); });
}

}  // namespace osculant::cli
