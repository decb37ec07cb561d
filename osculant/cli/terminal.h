#pragma once

#include <string>

#include "osculant/base/stopwatch.h"

namespace osculant::cli {

void print_out(const std::string& text);      // to stdout; Error(write) when it is full or closed
void print_message(const std::string& text);  // a line to stderr, after clearing live progress

// A line of progress on stderr, or a few. On a terminal they are rewritten in place; elsewhere they are
// written now and then.
class ProgressLine {
 public:
  ProgressLine();
  ~ProgressLine();                     // clears the live lines
  void show(const std::string& text);  // lines end where the terminal does

 private:
  bool live_;
  bool shown_ = false;
  Stopwatch since_last_;
};

}  // namespace osculant::cli
