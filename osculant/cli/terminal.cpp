#include "osculant/cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>

#include "osculant/base/error.h"
#include "osculant/base/printable.h"
#include "osculant/io/single_writer.h"

namespace osculant::cli {
namespace {

constexpr double live_interval = 0.1;  // seconds
constexpr double quiet_interval = 10;  // seconds, where stderr is no terminal

size_t terminal_width() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

int live_lines = 0;  // on the screen; one terminal a process

// What takes the live lines off the screen.
std::string clear_live() {
  if (live_lines == 0) return "";
  std::string up = live_lines > 1 ? "\x1b[" + std::to_string(live_lines - 1) + "A" : "";
  live_lines = 0;
  return "\r" + up + "\x1b[J";
}

// Each line no longer than the terminal is wide, so that none wraps.
std::string cut(const std::string& text, size_t width) {
  std::string out;
  for (size_t begin = 0; begin <= text.size();) {
    size_t end = std::min(text.find('\n', begin), text.size());
    if (begin > 0) out += '\n';
    out += text.substr(begin, std::min(end - begin, width));
    begin = end + 1;
  }
  return out;
}

}  // namespace

void print_out(const std::string& text) {
  if (!writes_files()) return;
  std::cout << printable(text) << std::flush;
  if (!std::cout) fail(ErrorKind::write, "cannot write to the standard output");
}

void print_message(const std::string& text) {
  if (!writes_files()) return;
  std::cerr << clear_live() << printable(text) << std::endl;
}

ProgressLine::ProgressLine() : live_(isatty(STDERR_FILENO) == 1) {}

ProgressLine::~ProgressLine() {
  if (!writes_files()) return;
  std::cerr << clear_live() << std::flush;
}

void ProgressLine::show(const std::string& text) {
  if (!writes_files()) return;
  if (shown_ && since_last_.seconds() < (live_ ? live_interval : quiet_interval)) return;
  if (!live_ && !shown_ && since_last_.seconds() < quiet_interval) return;
  shown_ = true;
  since_last_.reset();
  std::string safe = printable(text);
  if (!live_) {
    std::cerr << safe << std::endl;
    return;
  }
  std::cerr << clear_live() << cut(safe, terminal_width() - 1) << std::flush;
  live_lines = 1 + static_cast<int>(std::count(safe.begin(), safe.end(), '\n'));
}

}  // namespace osculant::cli
