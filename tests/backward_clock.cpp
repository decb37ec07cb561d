// Preloaded before a program: the time of day goes back by an hour each time that somebody asks. The
// monotonic clock is left alone, as the kernel does when somebody sets the time.
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <ctime>

namespace {

std::atomic<long> asked{0};

time_t turned_back(time_t now) {
  return now - 3600 * ++asked % 100000000;
}

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* time) {
  long result = syscall(SYS_clock_gettime, clock, time);
  if (result == 0 && clock == CLOCK_REALTIME) time->tv_sec = turned_back(time->tv_sec);
  return static_cast<int>(result);
}

time_t time(time_t* out) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}

int gettimeofday(timeval* out, void*) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  *out = {now.tv_sec, now.tv_nsec / 1000};
  return 0;
}
}
