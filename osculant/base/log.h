#pragma once

#include <functional>
#include <string>

namespace osculant {

enum class LogLevel { info, warning };

// Where messages to the user go. A library has no business writing to a terminal: the default sink is silent
// for info and writes warnings to stderr. One sink a process, set before threads start.
using LogSink = std::function<void(LogLevel, const std::string&)>;
void set_log_sink(LogSink sink);
void log_info(const std::string& message);
void log_warning(const std::string& message);

}  // namespace osculant
