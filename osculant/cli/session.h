#pragma once

#include <string>

#include "osculant/cli/command.h"
#include "osculant/study/problem.h"

namespace osculant::cli {

// The folder a command's results go to: --out, run.out or, for a command that always writes, one named after
// the time. Empty for none.
std::string result_folder(const std::string& command, const RunConfig& config);

// The run file and the flags. `--resume --out DIR` needs no more: DIR holds the run file.
RunConfig resumable_config(const RunOptions& options);

// With --resume on a folder whose run is finished: prints its result and returns true.
bool report_finished(const std::string& folder, const RunOptions& options);

// result.json into the folder (if there is one) and, for a person or for a program, the result to stdout.
// Returns the exit code that its status means.
int finish(const Result& result, const ResultDirectory* folder, const RunOptions& options);

}  // namespace osculant::cli
