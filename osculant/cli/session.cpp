#include "osculant/cli/session.h"

#include <fmt/format.h>

#include "osculant/base/interrupt.h"
#include "osculant/cli/terminal.h"

namespace osculant::cli {

std::string result_folder(const std::string& command, const RunConfig& config) {
  return config.run.out.empty() ? default_result_directory(command) : config.run.out;
}

bool report_finished(const std::string& folder, const RunOptions& options) {
  if (!options.resume()) return false;
  auto result = finished_result(folder);
  if (!result) return false;
  print_message(fmt::format("{}: this run is finished; nothing was done", folder));
  print_out(options.json() ? *result : fmt::format("Results: {}/result.json\n", folder));
  return true;
}

int finish(const Result& result, const ResultDirectory* folder, const RunOptions& options) {
  std::string json = to_json(result);
  if (folder != nullptr) folder->write("result.json", json);
  if (options.json()) {
    print_out(json);
  } else {
    print_out(to_text(result));
    if (folder != nullptr) print_out(fmt::format("Results: {}\n", folder->file("result.json")));
  }
  if (result.status == "failed") return exit_numerical;
  return result.status == "interrupted" ? exit_signal + interrupt_signal() : exit_done;
}

}  // namespace osculant::cli
