#include "osculant/study/analysis.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "osculant/cli/session.h"
#include "osculant/cli/terminal.h"
#include "osculant/study/matrices.h"
#include "osculant/study/through.h"

namespace osculant::cli {
namespace {

int run(const RunOptions& options) {
  FolderCommand command{.name = "analyze", .plan = plan_analysis};
  command.require_same = [](const std::string& folder, const RunConfig& config, bool) {
    require_same_analysis(folder, config);
  };
  command.work = [&](const Problem& problem, const RunConfig& config, const ResultDirectory& folder,
                     ProgressLine& progress) {
    return analyze(problem, config, folder, options.resume(),
                   [&](const std::string& line) { progress.show(line); });
  };
  command.say_how_to_go_on = [](const Result& result, const std::string& folder) {
    if (result.status == "interrupted")
      print_message(
          fmt::format("interrupted; osculant analyze --resume --out {} makes what is missing", folder));
  };
  RunConfig config = resumable_config(options);
  if (!config.analyze.through.empty()) {
    command.plan = plan_through;
    command.work = [](const Problem& problem, const RunConfig& own, const ResultDirectory& folder,
                      ProgressLine& progress) {
      return analyze_through(problem, own, folder, [&](const std::string& line) { progress.show(line); });
    };
    command.say_how_to_go_on = {};
  }
  return run_in_folder(command, config, options);
}

}  // namespace

void add_analyze(CLI::App& tool, int& status) {
  CLI::App* command = tool.add_subcommand(
      "analyze", "what curvature is there: eigenvalues, density, rank, sparsity, trace, gradient by layer");
  auto options = std::make_shared<RunOptions>(*command);
  options->add_key("--eigenvalues", "analyze.eigenvalues", "K",
                   "so many at each end of the spectrum; default 10");
  options->add_key("--matrix", "analyze.matrix", "LIST",
                   fmt::format("of {}; default hessian", fmt::join(matrix_names(), ", ")));
  options->add_switch("--density", "analyze.density", "the density of all eigenvalues");
  options->add_switch("--rank", "analyze.rank",
                      "numerical, stable and effective rank, and whether it is one, by layer too");
  options->add_switch("--sparsity", "analyze.sparsity",
                      "which layers' blocks and which entries are negligible, and what structure that makes");
  options->add_key("--low-rank", "analyze.low_rank", "K",
                   "errors of low-rank approximations up to rank K, and what rank is enough");
  options->add_switch("--gradient-flow", "analyze.gradient_flow",
                      "how signals get through the layers, and gradients back");
  options->add_switch("--alignment", "analyze.alignment",
                      "where the gradient lies among the eigenvectors, and the curvature along it");
  options->add_key("--slices", "analyze.slices", "K",
                   "the objective along K eigenvectors of each end, and over a random plane");
  options->add_switch("--sampling-error", "analyze.sampling_error",
                      "how far eigenvalues and trace are from those of more data");
  options->add_key("--batch-size", "analyze.batch_size", "B",
                   "examples worked on at a time, or full; changes no answer");
  options->add_switch("--full", "analyze.full", "all of these measurements");
  options->add_key("--through", "analyze.through", "DIR",
                   "follow the spectrum's ends through the checkpoints of a training");
  options->add_key("--start-from", "analyze.start_from", "DIR|FILE",
                   "begin with the eigenpairs that another analysis kept");
  options->add_switch("--keep-eigenpairs", "analyze.keep_eigenpairs", "leave them in DIR/eigenpairs");
  options->add_result_flags("make what an interrupted analysis in DIR still lacks");
  command->footer(
      "Example:\n  osculant analyze --model m.pt2 --data train.safetensors --loss cross_entropy "
      "--eigenvalues 5");
  command->callback([options, &status] { status = run(*options); });
}

}  // namespace osculant::cli
