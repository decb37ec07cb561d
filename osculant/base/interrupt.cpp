#include "osculant/base/interrupt.h"

#include <unistd.h>

#include <atomic>
#include <csignal>

namespace osculant {
namespace {

std::atomic<int> pending{0};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler may touch only lock-free atomics");

extern "C" void on_signal(int signal) {
  if (pending.exchange(signal) != 0) _exit(128 + signal);
}

}  // namespace

void install_interrupt_handlers() {
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
}

int interrupt_signal() {
  return pending.load();
}
void request_interrupt(int signal) {
  pending = signal;
}
void clear_interrupt() {
  pending = 0;
}

}  // namespace osculant
