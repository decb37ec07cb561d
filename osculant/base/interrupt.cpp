#include "osculant/base/interrupt.h"

#include <unistd.h>

#include <atomic>
#include <csignal>

namespace osculant {
namespace {

std::atomic<int> pending{0};
bool shared = false;
int agreed = 0;
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
  return shared ? agreed : pending.load();
}
void request_interrupt(int signal) {
  pending = signal;
}
void clear_interrupt() {
  pending = 0;
  agreed = 0;
}

void share_interrupts() {
  shared = true;
}
int pending_interrupt() {
  return pending.load();
}
void agree_on_interrupt(int signal) {
  agreed = signal;
}

}  // namespace osculant
