#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "osculant/study/result.h"
#include "osculant/study/result_directory.h"
#include "osculant/study/run_config.h"

namespace osculant::cli {

// Exit codes, documented in docs/command-line.md.
enum ExitCode {
  exit_done = 0,
  exit_bug = 1,
  exit_usage = 2,
  exit_data = 3,
  exit_memory = 4,
  exit_numerical = 5,
  exit_write = 6,
  exit_signal = 128,  // + the signal
};

// What the commands that work on a model share: RUN.toml and the flags that win over it.
class RunOptions {
 public:
  explicit RunOptions(CLI::App& command);

  // A flag that stands for one key of the run file.
  void add_key(const std::string& flag, const std::string& key, const std::string& value_name,
               const std::string& words);
  void add_switch(const std::string& flag, const std::string& key, const std::string& words);  // to true
  void add_result_flags(const std::string& resume_words);  // what --resume does here

  RunConfig config() const {
    return config(run_file_);
  }  // the run file, --model and --data, --set, other flags
  RunConfig config(const std::string& run_file) const;  // with another run file
  bool has_run_file() const { return !run_file_.empty(); }
  bool json() const { return json_; }
  bool resume() const { return resume_; }
  Existing existing() const;
  CLI::App& command() const { return command_; }

 private:
  struct Setting {
    std::string flag, key, value;
  };
  CLI::App& command_;
  std::string run_file_, model_, data_;
  std::vector<std::string> assignments_;
  std::vector<Setting> settings_;
  bool json_ = false, resume_ = false, overwrite_ = false;
};

// One function a command: adds it to the tool; its callback leaves the exit code in `status`.
void add_init(CLI::App& tool, int& status);
void add_check(CLI::App& tool, int& status);
void add_analyze(CLI::App& tool, int& status);
void add_advise(CLI::App& tool, int& status);
void add_train(CLI::App& tool, int& status);
void add_compare(CLI::App& tool, int& status);
void add_evaluate(CLI::App& tool, int& status);
void add_methods(CLI::App& tool, int& status);
void add_report(CLI::App& tool, int& status);

}  // namespace osculant::cli
