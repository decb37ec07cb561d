#include "osculant/cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <iostream>

#include "osculant/base/error.h"

namespace osculant::cli {
namespace {

constexpr double live_interval = 0.1;  // seconds
constexpr double quiet_interval = 10;  // seconds, where stderr is no terminal
constexpr const char* clear_line = "\r\x1b[K";

size_t terminal_width() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

bool live_line_shown = false;  // one terminal a process

}  // namespace

std::string printable(const std::string& text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    auto c = static_cast<unsigned char>(text[i]);
    bool c1 =
        c == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0;  // U+0080..9F
    if (c1) ++i;
    out += c1 || c == 0x7F || (c < 0x20 && c != '\n' && c != '\t') ? '?' : text[i];
  }
  return out;
}

void print_out(const std::string& text) {
  std::cout << printable(text) << std::flush;
  if (!std::cout) fail(ErrorKind::write, "cannot write to the standard output");
}

void print_message(const std::string& text) {
  std::cerr << (live_line_shown ? clear_line : "") << printable(text) << std::endl;
  live_line_shown = false;
}

ProgressLine::ProgressLine() : live_(isatty(STDERR_FILENO) == 1) {}

ProgressLine::~ProgressLine() {
  if (live_line_shown) std::cerr << clear_line << std::flush;
  live_line_shown = false;
}

void ProgressLine::show(const std::string& line) {
  if (shown_ && since_last_.seconds() < (live_ ? live_interval : quiet_interval)) return;
  if (!live_ && !shown_ && since_last_.seconds() < quiet_interval) return;
  shown_ = true;
  since_last_.reset();
  std::string text = printable(line);
  if (!live_) {
    std::cerr << text << std::endl;
    return;
  }
  std::cerr << clear_line << text.substr(0, terminal_width() - 1) << std::flush;
  live_line_shown = true;
}

}  // namespace osculant::cli
