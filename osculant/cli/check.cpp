#include "osculant/study/check.h"

#include "osculant/cli/session.h"
#include "osculant/cli/terminal.h"

namespace osculant::cli {
namespace {

int run(const RunOptions& options) {
  RunConfig config = options.config();
  Problem problem = load_problem(config);
  return finish(check(problem, config), options);
}

}  // namespace

void add_check(CLI::App& tool, int& status) {
  CLI::App* command = tool.add_subcommand(
      "check",
      "preflight: reads model and data, tries second derivatives, finds unused parameters, plans the work");
  auto options = std::make_shared<RunOptions>(*command);
  command->footer("Example:\n  osculant check --model m.pt2 --data train.safetensors --loss cross_entropy");
  command->callback([options, &status] { status = run(*options); });
}

}  // namespace osculant::cli
