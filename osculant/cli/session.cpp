#include "osculant/cli/session.h"

#include <fmt/format.h>

#include <filesystem>

#include "osculant/base/error.h"
#include "osculant/base/interrupt.h"
#include "osculant/comm/communicator.h"
#include "osculant/io/single_writer.h"
#include "osculant/report/page.h"
#include "osculant/study/same_run.h"

namespace osculant::cli {

RunConfig resumable_config(const RunOptions& options) {
  RunConfig config = options.config();
  if (!options.resume() || options.has_run_file() || !config.model.kind.empty()) return config;
  if (config.run.out.empty()) fail_usage("--resume: which run is not given: --out DIR");
  std::string recorded = config.run.out + "/run.toml";
  if (!std::filesystem::exists(recorded))
    fail_usage(fmt::format("--resume: {}: there is no run to go on with (no run.toml)", config.run.out));
  return options.config(recorded);
}

namespace {

void require_same_command(const std::string& name, const std::string& folder) {
  std::string other = command_of_results(folder);
  if (!other.empty() && other != name)
    fail_usage(fmt::format("--resume: {} holds results of osculant {}, and this is osculant {}", folder,
                           other, name));
}

// With --resume on a folder whose run is finished and was told the same: prints its result and returns true.
bool report_finished(const FolderCommand& command, RunConfig config, const RunOptions& options) {
  if (!options.resume()) return false;
  std::string folder = config.run.out;
  require_same_command(command.name, folder);
  auto result = finished_result(folder);
  if (!result) return false;
  if (command.require_same && !is_recorded_run(folder, config)) {
    Problem problem = load_problem(config);
    command.plan(problem, config);  // writes the defaults back
    command.require_same(folder, config, /*finished=*/true);
  }
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
  if (report_finished(command, config, options)) return exit_done;
  require_usable(config.run.out, options.existing());
  Problem problem = load_problem(config);
  PlanRecord plan = command.plan(problem, config);
  if (options.resume() && command.require_same)
    command.require_same(config.run.out, config, /*finished=*/false);
  print_message("plan: " + to_text(plan));
  world_communicator().least(0);  // all have seen the folder as it was
  ResultDirectory folder(config.run.out, options.existing());
  folder.write("run.toml", config.to_toml());
  Result result;
  {
    ProgressLine progress;
    try {
      result = command.work(problem, config, folder, progress);
    } catch (const Error& error) {
      if (!options.resume() && error.kind() != ErrorKind::write) folder.remove_if_empty();
      throw;
    }
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
