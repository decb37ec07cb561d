#pragma once

namespace osculant {

// SIGINT and SIGTERM as a flag that long work polls between products and steps. Installed by the command line
// and by programs that want it; the library installs nothing by itself.
void install_interrupt_handlers();

// 0, or the signal that asked to stop. A second SIGINT ends the process at once.
int interrupt_signal();
void request_interrupt(
    int signal);  // what the handler does; for tests and for programs with their own handlers
void clear_interrupt();

}  // namespace osculant
