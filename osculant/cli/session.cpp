#include "osculant/cli/session.h"

#include <fmt/format.h>

#include <filesystem>

#include "osculant/base/interrupt.h"
#include "osculant/cli/terminal.h"
#include "osculant/report/page.h"

namespace osculant::cli {

std::string result_folder(const std::string& command, const RunConfig& config) {
  return config.run.out.empty() ? default_result_directory(command) : config.run.out;
}

RunConfig resumable_config(const RunOptions& options) {
  RunConfig config = options.config();
  std::string recorded = config.run.out + "/run.toml";
  if (!options.resume() || options.has_run_file() || !config.model.kind.empty()) return config;
  if (config.run.out.empty() || !std::filesystem::exists(recorded)) return config;
  return options.config(recorded);
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
  if (folder != nullptr) {
    folder->write("result.json", json);
    write_report(folder->path());
  }
  if (options.json()) {
    print_out(json);
  } else {
    print_out(to_text(result));
    if (folder != nullptr)
      print_out(
          fmt::format("Results: {}\nReport: {}\n", folder->file("result.json"), folder->file("report.html")));
  }
  if (result.status == "failed") return exit_numerical;
  return result.status == "interrupted" ? exit_signal + interrupt_signal() : exit_done;
}

}  // namespace osculant::cli
