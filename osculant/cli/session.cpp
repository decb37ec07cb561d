#include "osculant/cli/session.h"

#include <fmt/format.h>

#include <filesystem>

#include "osculant/base/interrupt.h"
#include "osculant/comm/communicator.h"
#include "osculant/io/single_writer.h"
#include "osculant/report/page.h"

namespace osculant::cli {

RunConfig resumable_config(const RunOptions& options) {
  RunConfig config = options.config();
  std::string recorded = config.run.out + "/run.toml";
  if (!options.resume() || options.has_run_file() || !config.model.kind.empty()) return config;
  if (config.run.out.empty() || !std::filesystem::exists(recorded)) return config;
  return options.config(recorded);
}

namespace {

// With --resume on a folder whose run is finished: prints its result and returns true.
bool report_finished(const std::string& folder, const RunOptions& options) {
  if (!options.resume()) return false;
  auto result = finished_result(folder);
  if (!result) return false;
  print_message(fmt::format("{}: this run is finished; nothing was done", folder));
  print_out(options.json() ? *result : fmt::format("Results: {}/result.json\n", folder));
  return true;
}

void print_result(const Result& result, const RunOptions& options) {
  print_out(options.json() ? to_json(result) : to_text(result));
}

int exit_code(const Result& result) {
  if (result.status == "failed") return exit_numerical;
  return result.status == "interrupted" ? exit_signal + interrupt_signal() : exit_done;
}

}  // namespace

int run_in_folder(const FolderCommand& command, RunConfig config, const RunOptions& options) {
  if (config.run.out.empty()) config.run.out = default_result_directory(command.name);
  if (report_finished(config.run.out, options)) return exit_done;
  require_usable(config.run.out, options.existing());
  Problem problem = load_problem(config);
  PlanRecord plan = command.plan(problem, config);
  if (options.resume() && command.require_same) command.require_same(config.run.out, config);
  print_message("plan: " + to_text(plan));
  world_communicator().least(0);  // all have seen the folder as it was
  ResultDirectory folder(config.run.out, options.existing());
  folder.write("run.toml", config.to_toml());
  Result result;
  {
    ProgressLine progress;
    result = command.work(problem, config, folder, progress);
  }
  result.plan = plan;
  result.processes = world_communicator().size();
  result.traffic = world_communicator().traffic();
  folder.write("result.json", to_json(result));
  if (writes_files()) write_report(folder.path());
  print_result(result, options);
  if (!options.json())
    print_out(
        fmt::format("Results: {}\nReport: {}\n", folder.file("result.json"), folder.file("report.html")));
  if (command.say_how_to_go_on) command.say_how_to_go_on(result, folder.path());
  return exit_code(result);
}

int finish(const Result& result, const RunOptions& options) {
  print_result(result, options);
  return exit_code(result);
}

}  // namespace osculant::cli
