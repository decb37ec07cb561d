#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <csignal>
#include <iostream>
#include <new>

#include "osculant/base/error.h"
#include "osculant/base/interrupt.h"
#include "osculant/base/log.h"
#include "osculant/base/printable.h"
#include "osculant/base/text.h"
#include "osculant/cli/command.h"
#include "osculant/cli/terminal.h"
#include "osculant/comm/communicator.h"

namespace osculant::cli {
namespace {

int exit_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::internal:
      return exit_bug;
    case ErrorKind::usage:
      return exit_usage;
    case ErrorKind::data:
      return exit_data;
    case ErrorKind::memory:
      return exit_memory;
    case ErrorKind::numerical:
      return exit_numerical;
    case ErrorKind::write:
      return exit_write;
  }
  return exit_bug;
}

// A mistake that every process met is told by the first. One that cannot go on alone says so, and ends the
// others.
int complain(int code, const std::string& message) {
  const auto& world = world_communicator();
  if (world.alone() || all_processes_fail()) {
    print_message("osculant: " + message);
    end_processes();
    return code;
  }
  std::cerr << printable(fmt::format("osculant: process {}: {}\n", world.rank(), message)) << std::flush;
  abort_processes(code);
}

std::vector<std::string> command_names(CLI::App& tool) {
  std::vector<std::string> names;
  for (const CLI::App* command : tool.get_subcommands(nullptr)) names.push_back(command->get_name());
  return names;
}

// CLI11's message, and for a word or flag it does not know the nearest one.
int usage_error(CLI::App& tool, const CLI::ParseError& error) {
  std::string message = error.what();
  auto chosen = tool.get_subcommands();
  CLI::App& where = chosen.empty() ? tool : *chosen.front();
  std::string nearest;
  for (const auto& word : where.remaining()) {
    std::vector<std::string> known = chosen.empty() ? command_names(tool) : std::vector<std::string>{};
    for (const CLI::Option* option : where.get_options())
      for (const auto& name : option->get_lnames()) known.push_back("--" + name);
    if (nearest.empty()) nearest = nearest_word(word, known);
  }
  if (!nearest.empty()) message += fmt::format("; did you mean {}?", nearest);
  return complain(exit_usage, fmt::format("{}\nRun osculant {}--help for what there is.", message,
                                          chosen.empty() ? "" : chosen.front()->get_name() + " "));
}

int run(int argc, char** argv) {
  int status = exit_done;
  CLI::App tool{"Finds out what curvature a neural network has, and trains it with that curvature.",
                "osculant"};
  tool.require_subcommand(1);
  tool.set_version_flag("--version", "osculant " + version());
  tool.footer(
      "Exit codes: 0 done, 1 a bug, 2 wrong usage or run file, 3 bad data or model file, 4 not enough "
      "memory,\n"
      "5 numerical failure, 6 cannot write, 130/143 interrupted (with a checkpoint).\n\n"
      "Example:\n"
      "  osculant analyze --model m.pt2 --data train.safetensors --loss cross_entropy --eigenvalues 5");
  for (auto add : {add_init, add_check, add_analyze, add_advise, add_train, add_compare, add_evaluate,
                   add_methods, add_report})
    add(tool, status);
  try {
    tool.parse(argc, argv);
  } catch (const CLI::Success& asked) {  // --help, --version
    tool.exit(asked);
    return exit_done;
  } catch (const CLI::ParseError& error) {
    return usage_error(tool, error);
  }
  return status;
}

bool says_out_of_memory(const std::string& message) {
  return message.find("can't allocate memory") != std::string::npos ||
         message.find("out of memory") != std::string::npos;
}

// The library names its own remedies; this one has a key of the run file.
std::string with_remedy(const std::string& message) {
  bool of_mode = message.find("model.train(false)") != std::string::npos;
  return of_mode ? message + " (osculant: --set model.mode=eval)" : message;
}

int guarded_run(int argc, char** argv) {
  try {
    start_processes();
    int status = run(argc, argv);
    end_processes();
    return status;
  } catch (const Error& error) {
    return complain(exit_code(error.kind()), with_remedy(error.what()));
  } catch (const c10::Error& error) {
    std::string message = error.what_without_backtrace();
    if (says_out_of_memory(message)) return complain(exit_memory, "out of memory: " + message);
    return complain(exit_bug, "a bug, please report it: " + message);
  } catch (const std::bad_alloc&) {
    return complain(exit_memory, "out of memory");
  } catch (const std::exception& error) {
    return complain(exit_bug, fmt::format("a bug, please report it: {}", error.what()));
  }
}

}  // namespace
}  // namespace osculant::cli

int main(int argc, char** argv) {
  using namespace osculant;
  std::signal(SIGXFSZ, SIG_IGN);  // a file too large is an error of write(), reported like a full disk
  install_interrupt_handlers();
  set_log_sink([](LogLevel level, const std::string& message) {
    cli::print_message(level == LogLevel::warning ? "osculant: warning: " + message : message);
  });
  return cli::guarded_run(argc, argv);
}
