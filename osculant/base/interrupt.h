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

// Where several processes share a run, all must find the same at the same poll: interrupt_signal() then tells
// what was agreed on last, and pending_interrupt() what has reached this process.
void share_interrupts();
int pending_interrupt();
void agree_on_interrupt(int signal);

}  // namespace osculant
