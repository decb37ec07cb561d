#include <fmt/format.h>

#include "osculant/base/error.h"
#include "osculant/cli/session.h"
#include "osculant/study/check.h"

namespace osculant::cli {
namespace {

int run(const RunOptions& options, const std::string& parameters) {
  RunConfig config = options.config();
  config.model.parameters = parameters;
  Problem problem = load_problem(config);
  return finish(evaluate_parameters(problem, parameters), options);
}

}  // namespace

void add_evaluate(CLI::App& tool, int& status) {
  CLI::App* command = tool.add_subcommand("evaluate", "loss and metrics of given weights, on any data");
  auto options = std::make_shared<RunOptions>(*command);
  auto parameters = std::make_shared<std::string>();
  command->add_option("--parameters", *parameters, "the weights, such as a run's parameters.safetensors")
      ->type_name("FILE")
      ->required();
  command->footer(
      "Example:\n  osculant evaluate runs/first/run.toml --parameters runs/first/best.safetensors");
  command->callback([options, parameters, &status] { status = run(*options, *parameters); });
}

}  // namespace osculant::cli
