#pragma once

#include <functional>
#include <string>

#include "osculant/cli/command.h"
#include "osculant/cli/terminal.h"
#include "osculant/study/problem.h"

namespace osculant::cli {

// The run file and the flags. `--resume --out DIR` needs no more: DIR holds the run file.
RunConfig resumable_config(const RunOptions& options);

// A command that fills a result folder: what it does, between its flags and its exit code.
struct FolderCommand {
  std::string name = {};
  std::function<PlanRecord(const Problem&, RunConfig&)> plan = {};
  // With --resume: throws where the folder holds another run. Empty where there is nothing to go on with.
  std::function<void(const std::string& folder, const RunConfig&, bool finished)> require_same = {};
  std::function<Result(const Problem&, const RunConfig&, const ResultDirectory&, ProgressLine&)> work = {};
  // After a run that was interrupted or failed.
  std::function<void(const Result&, const std::string& folder)> say_how_to_go_on = {};
};

// Runs it: a finished folder is reported, a folder in use refused before anything is read; then the plan, the
// work with its live line, the results. Returns the exit code.
int run_in_folder(const FolderCommand& command, RunConfig config, const RunOptions& options);

// The result, for a person or for a program, to stdout. Returns the exit code that its status means.
int finish(const Result& result, const RunOptions& options);

}  // namespace osculant::cli
