#include "osculant/study/comparison.h"

#include <fmt/format.h>

#include <cmath>

#include "osculant/base/text.h"
#include "osculant/cli/session.h"
#include "osculant/cli/terminal.h"

namespace osculant::cli {
namespace {

std::string spent_text(const Standing& standing, const Budget& budget) {
  bool timed = budget.unit == Budget::Unit::seconds;
  double spent = timed ? standing.seconds : standing.gradient_equivalents;
  return timed ? format_seconds(spent) : fmt::format("{} ge", format_number(spent));
}

std::string live_table(const ComparisonStatus& status) {
  bool metric = status.metric != "loss";
  std::vector<std::string> header{"method", "spent", "steps", "loss"};
  if (metric) header.push_back(status.metric);
  header.push_back("");
  TextTable table(header);
  for (const auto& standing : status.standings) {
    std::vector<std::string> row{standing.label, spent_text(standing, status.budget),
                                 format_count(standing.steps), format_number(standing.last.loss)};
    double value = std::nan("");
    for (const auto& [name, found] : standing.last.metrics)
      if (name == status.metric) value = found;
    if (metric) row.push_back(format_number(value));
    row.push_back(standing.end);
    table.add(row);
  }
  std::string text = fmt::format("{}, {} each\n{}", status.phase, status.budget.str(), table.str());
  return text.substr(0, text.size() - 1);
}

void say_how_to_go_on(const Result& result, const std::string& folder) {
  if (result.status == "interrupted")
    print_message(
        fmt::format("interrupted; osculant compare --resume --out {} keeps what is finished", folder));
  if (result.status == "failed") print_message("osculant: numerical failure: every method failed");
}

int run(const RunOptions& options) {
  FolderCommand command{.name = "compare", .plan = plan_comparison};
  command.require_same = [](const std::string& folder, const RunConfig& config, bool) {
    require_same_comparison(folder, config);
  };
  command.work = [&](const Problem& problem, const RunConfig& config, const ResultDirectory& folder,
                     ProgressLine& progress) {
    return compare(problem, config, folder, options.resume(),
                   [&](const ComparisonStatus& status) { progress.show(live_table(status)); });
  };
  command.say_how_to_go_on = say_how_to_go_on;
  return run_in_folder(command, resumable_config(options), options);
}

}  // namespace

void add_compare(CLI::App& tool, int& status) {
  CLI::App* command = tool.add_subcommand(
      "compare", "race methods against each other: equal budgets, equal tuning, a verdict");
  auto options = std::make_shared<RunOptions>(*command);
  options->add_key("--methods", "compare.methods", "LIST",
                   "who races, with options: adam,sgd:learning_rate=0.1,hessian_free:batch_size=full");
  options->add_key("--budget", "train.budget", "60s|500ge", "of each run: seconds of its own steps, or work");
  options->add_key("--target", "train.target", "TARGET",
                   "who is there first: 'loss<=1e-4', 'test.accuracy>=0.88'");
  options->add_key("--seeds", "compare.seeds", "N", "runs of each method; default 3");
  options->add_key("--tune", "compare.tune", "N", "trials to tune each method before; default 5, 0: none");
  options->add_key("--batch-size", "train.batch_size", "B", "examples a step, or full");
  options->add_key("--evaluate-every", "train.evaluate_every", "STEPS",
                   "evaluate on all the data; default an epoch");
  options->add_result_flags("keep the runs that are finished in DIR");
  command->footer(
      "Example:\n  osculant compare --model mlp:784-256-10 --data fashion_mnist --loss cross_entropy \\\n"
      "      --set data.scale=255 --methods adam,momentum --target 'loss<=0.3' --budget 30s");
  command->callback([options, &status] { status = run(*options); });
}

}  // namespace osculant::cli
