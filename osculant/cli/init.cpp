#include <fmt/format.h>

#include <filesystem>

#include "osculant/base/error.h"
#include "osculant/cli/command.h"
#include "osculant/cli/terminal.h"
#include "osculant/io/atomic_file.h"

namespace osculant::cli {
namespace {

struct InitOptions {
  std::string model, file = "RUN.toml";
  bool overwrite = false;
};

RunConfig starting_point(const std::string& model) {
  RunConfig config;
  if (model.empty()) {
    config.read_text(
        "[model]\nkind = \"mlp\"\nwidths = [784, 256, 128, 10]\nactivation = \"relu\"\n"
        "[data]\nkind = \"fashion_mnist\"\ntest = \"split\"\nscale = 255.0\n",
        "init");
  } else {
    config.set("model.kind", "exported", "--model");
    config.model.path = model;
    config.read_text("[data]\nkind = \"safetensors\"\npath = \"train.safetensors\"\n", "init");
  }
  config.read_text(
      "[loss]\nkind = \"cross_entropy\"\n[metrics]\nnames = [\"accuracy\"]\n"
      "[train]\nmethod = \"adam\"\nbudget = \"60s\"\n[analyze]\neigenvalues = 10\n"
      "[run]\nseed = 0\ndtype = \"float32\"\ndevice = \"cpu\"\n",
      "init");
  return config;
}

int init(const InitOptions& options) {
  if (!options.model.empty() && !std::filesystem::exists(options.model))
    fail_data(fmt::format("{}: no such file", options.model));
  std::string text = commented_run_file(starting_point(options.model));
  if (options.file == "-") {
    print_out(text);
    return exit_done;
  }
  if (!options.overwrite && std::filesystem::exists(options.file))
    fail_usage(fmt::format("{}: is there already; --overwrite replaces it", options.file));
  write_file(options.file, text);
  print_message(fmt::format("wrote {0}; next: osculant check {0}", options.file));
  return exit_done;
}

}  // namespace

void add_init(CLI::App& tool, int& status) {
  CLI::App* command = tool.add_subcommand("init", "write a run file to start from, commented");
  auto options = std::make_shared<InitOptions>();
  command->add_option("FILE", options->file, "the run file to write; - for stdout")->capture_default_str();
  command->add_option("--model", options->model, "an exported program to start from")->type_name("m.pt2");
  command->add_flag("--overwrite", options->overwrite, "replace FILE if it is there");
  command->footer("Example:\n  osculant init RUN.toml && osculant check RUN.toml && osculant train RUN.toml");
  command->callback([options, &status] { status = init(*options); });
}

}  // namespace osculant::cli
