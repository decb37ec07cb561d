#include "osculant/study/advice.h"

#include "osculant/cli/session.h"
#include "osculant/cli/terminal.h"

namespace osculant::cli {
namespace {

int run(const RunOptions& options) {
  FolderCommand command{.name = "advise", .plan = plan_advice};
  command.work = [](const Problem& problem, const RunConfig& config, const ResultDirectory& folder,
                    ProgressLine& progress) {
    return advise(problem, config, folder, [&](const std::string& line) { progress.show(line); });
  };
  return run_in_folder(command, options.config(), options);
}

}  // namespace

void add_advise(CLI::App& tool, int& status) {
  CLI::App* command = tool.add_subcommand(
      "advise", "which method for this network, these data and this machine, and what to mend first");
  auto options = std::make_shared<RunOptions>(*command);
  options->add_switch("--race", "advise.race", "let the methods that come first race on this problem");
  options->add_key("--candidates", "advise.candidates", "K", "methods in the race; default 5");
  options->add_switch("--write-init", "advise.write_init",
                      "leave the critical initialisation in DIR/critical.safetensors");
  options->add_key("--budget", "train.budget", "60s|500ge", "of the whole race; default 60s");
  options->add_key("--target", "train.target", "TARGET",
                   "who is there first: 'loss<=1e-4', 'test.accuracy>=0.88'");
  options->add_result_flags("leave finished advice in DIR as it is");
  command->footer(
      "Example:\n  osculant advise --model m.pt2 --data train.safetensors --loss cross_entropy --race");
  command->callback([options, &status] { status = run(*options); });
}

}  // namespace osculant::cli
