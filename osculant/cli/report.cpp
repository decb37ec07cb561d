#include "osculant/report/page.h"

#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>

#include "osculant/cli/command.h"
#include "osculant/cli/terminal.h"

extern char** environ;

namespace osculant::cli {
namespace {

// The desktop's own choice of browser. No shell: the path is one argument, whatever is in it.
bool open_in_browser(const std::string& path) {
  std::string program = "xdg-open", argument = path;
  char* arguments[] = {program.data(), argument.data(), nullptr};
  pid_t child = 0;
  if (posix_spawnp(&child, program.c_str(), nullptr, nullptr, arguments, environ) != 0) return false;
  int status = 0;
  return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int run(const std::string& folder, bool open) {
  std::string path = write_report(folder);
  print_out(fmt::format("Report: {}\n", path));
  if (open && !open_in_browser(path))
    print_message(fmt::format("no browser could be started (xdg-open); open {} by hand", path));
  return exit_done;
}

}  // namespace

void add_report(CLI::App& tool, int& status) {
  CLI::App* command = tool.add_subcommand("report", "write a result directory's report.html again");
  auto folder = std::make_shared<std::string>();
  auto open = std::make_shared<bool>(false);
  command->add_option("DIR", *folder, "a result directory: what --out named")->required();
  command->add_flag("--open", *open, "show it in the browser");
  command->footer("Example:\n  osculant report runs/first --open");
  command->callback([folder, open, &status] { status = run(*folder, *open); });
}

}  // namespace osculant::cli
