#include <fmt/format.h>

#include "osculant/cli/session.h"
#include "osculant/cli/terminal.h"
#include "osculant/study/training.h"

namespace osculant::cli {
namespace {

void say_how_to_go_on(const Result& result, const std::string& folder) {
  if (result.status == "interrupted")
    print_message(fmt::format("interrupted; osculant train --resume --out {} goes on from here", folder));
  if (result.status == "failed")
    print_message(fmt::format("osculant: numerical failure: {}", result.training->stop.message));
}

int run(const RunOptions& options) {
  FolderCommand command{.name = "train", .plan = plan_training, .require_same = require_same_training};
  command.work = [&](const Problem& problem, const RunConfig& config, const ResultDirectory& folder,
                     ProgressLine& progress) {
    return train(problem, config, folder, options.resume(),
                 [&](const std::string& line) { progress.show(line); });
  };
  command.say_how_to_go_on = say_how_to_go_on;
  return run_in_folder(command, resumable_config(options), options);
}

}  // namespace

void add_train(CLI::App& tool, int& status) {
  CLI::App* command = tool.add_subcommand("train", "train with a method; checkpoints, resume, live progress");
  auto options = std::make_shared<RunOptions>(*command);
  options->add_key("--method", "train.method", "NAME", "see: osculant methods");
  options->add_key("--lr", "train.options.learning_rate", "ETA", "the method's learning rate");
  options->add_key("--batch-size", "train.batch_size", "B", "examples a step, or full");
  options->add_key("--steps", "train.steps", "N", "stop after so many steps");
  options->add_key("--epochs", "train.epochs", "N", "stop after so many passes over the data");
  options->add_key("--budget", "train.budget", "60s|500ge",
                   "stop after so much time, or so many gradient equivalents");
  options->add_key("--target", "train.target", "TARGET",
                   "stop when reached: 'loss<=1e-4', 'test.accuracy>=0.88'");
  options->add_key("--gradient-norm", "train.gradient_norm", "NORM", "stop when the gradient is this small");
  options->add_key("--require-psd", "train.require_psd", "TOL",
                   "at the end: is the Hessian's smallest eigenvalue >= -TOL? With --gradient-norm: leave "
                   "saddles along its eigenvector");
  options->add_key("--evaluate-every", "train.evaluate_every", "STEPS",
                   "evaluate on all the data; default an epoch");
  options->add_key("--checkpoint-every", "train.checkpoint_every", "STEPS", "default 30 s of work");
  options->add_key("--watch", "train.watch", "true|false",
                   "look out for trouble while it trains (docs/watching.md); default true");
  options->add_result_flags("go on from the last checkpoint in DIR");
  command->footer(
      "Example:\n  osculant train --model m.pt2 --data train.safetensors --loss cross_entropy \\\n"
      "      --method hessian_free --budget 60s --out runs/first");
  command->callback([options, &status] { status = run(*options); });
}

}  // namespace osculant::cli
