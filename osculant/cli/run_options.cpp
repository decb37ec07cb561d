#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "osculant/base/error.h"
#include "osculant/base/text.h"
#include "osculant/cli/command.h"

namespace osculant::cli {
namespace {

// "m.pt2", or a network of the zoo: "mlp:784-256-10".
void set_model(RunConfig& config, const std::string& text) {
  ModelConfig fresh;
  fresh.freeze = config.model.freeze;
  config.model = fresh;
  size_t colon = text.find(':');
  std::string kind = text.substr(0, colon);
  const std::vector<std::string> zoo{"mlp", "autoencoder", "cnn", "resnet", "transformer"};
  if (std::find(zoo.begin(), zoo.end(), kind) == zoo.end()) {
    std::string near = kind.find_first_of("./") == std::string::npos ? nearest_word(kind, zoo) : "";
    if (!near.empty() && !std::filesystem::exists(text))
      fail_usage(
          fmt::format("--model {}: there is no such file, and no network is called {} (did you mean {}{}?)",
                      text, kind, near, colon == std::string::npos ? "" : text.substr(colon)));
    config.set("model.kind", "exported", "--model");
    config.model.path = text;
    return;
  }
  config.set("model.kind", kind, "--model");
  if (colon == std::string::npos) return;
  std::string widths = text.substr(colon + 1);
  std::replace(widths.begin(), widths.end(), '-', ',');
  config.set("model.widths", "[" + widths + "]", fmt::format("--model {}", text));
}

void set_data(RunConfig& config, const std::string& text) {
  config.data.path.clear();
  if (text == "fashion_mnist" || text == "text") {
    config.set("data.kind", text, "--data");
    return;
  }
  std::string kind = text.ends_with(".csv") ? "csv" : text.ends_with(".txt") ? "text" : "safetensors";
  config.set("data.kind", kind, "--data");
  config.data.path = text;
}

}  // namespace

RunOptions::RunOptions(CLI::App& command) : command_(command) {
  command.add_option("RUN.toml", run_file_,
                     "run file; may be left out where --model, --data and --loss are given");
  command
      .add_option("--model", model_, "exported program m.pt2, or mlp:784-256-10, cnn, resnet, transformer")
      ->type_name("MODEL");
  command
      .add_option("--data", data_, "train.safetensors, train.pt, train.csv, book.txt, or fashion_mnist, text")
      ->type_name("DATA");
  add_key("--test-data", "data.test", "FILE", "test data, or \"split\" for the data set's own");
  add_key("--loss", "loss.kind", "LOSS", "mse, cross_entropy, binary_cross_entropy, huber, poisson");
  add_key("--dtype", "run.dtype", "TYPE", "float32, float64");
  add_key("--device", "run.device", "DEVICE", "cpu, cuda, cuda:1");
  add_key("--seed", "run.seed", "N", "of everything random");
  add_key("--threads", "run.threads", "N", "0: all");
  add_key("--memory-budget", "run.memory_budget", "SIZE", "2GiB, or half of what is free");
  add_key("--freeze", "model.freeze", "GLOBS", "parameters left alone, by name: 'features.*'");
  command.add_option("--set", assignments_, "any key of the run file: --set train.method=adam")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  command.add_flag("--json", json_, "print result.json alone on stdout");
}

void RunOptions::add_key(const std::string& flag, const std::string& key, const std::string& value_name,
                         const std::string& words) {
  command_
      .add_option_function<std::string>(
          flag,
          [this, flag, key](const std::string& value) {
            settings_.push_back({flag, key, value});
          },
          words)
      ->type_name(value_name);
}

void RunOptions::add_switch(const std::string& flag, const std::string& key, const std::string& words) {
  command_.add_flag_callback(
      flag,
      [this, flag, key] {
        settings_.push_back({flag, key, "true"});
      },
      words);
}

void RunOptions::add_result_flags(const std::string& resume_words) {
  add_key("--out", "run.out", "DIR", "where the results go; left out: runs/COMMAND-TIME");
  auto* overwrite = command_.add_flag("--overwrite", overwrite_, "replace the results in DIR");
  command_.add_flag("--resume", resume_, resume_words)->excludes(overwrite);
}

RunConfig RunOptions::config(const std::string& run_file) const {
  RunConfig config;
  if (!run_file.empty()) config.read_file(run_file);
  if (!model_.empty()) set_model(config, model_);
  if (!data_.empty()) set_data(config, data_);
  for (const auto& assignment : assignments_) config.set_assignment(assignment);
  for (const auto& setting : settings_) config.set(setting.key, setting.value, setting.flag);
  return config;
}

Existing RunOptions::existing() const {
  if (resume_) return Existing::resume;
  return overwrite_ ? Existing::overwrite : Existing::refuse;
}

}  // namespace osculant::cli
