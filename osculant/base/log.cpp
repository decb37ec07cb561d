#include "osculant/base/log.h"

#include <iostream>
#include <utility>

namespace osculant {
namespace {

LogSink& sink() {
  static LogSink current = [](LogLevel level, const std::string& message) {
    if (level == LogLevel::warning) std::cerr << "osculant: warning: " << message << "\n";
  };
  return current;
}

}  // namespace

void set_log_sink(LogSink new_sink) {
  sink() = std::move(new_sink);
}
void log_info(const std::string& message) {
  sink()(LogLevel::info, message);
}
void log_warning(const std::string& message) {
  sink()(LogLevel::warning, message);
}

}  // namespace osculant
