#include "osculant/base/memory.h"

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

namespace osculant {
namespace {

class Counter : public c10::MemoryReportingInfoBase {
 public:
  explicit Counter(std::shared_ptr<c10::DebugInfoBase> outer)
      : outer_(std::dynamic_pointer_cast<c10::MemoryReportingInfoBase>(outer)) {}

  void reportMemoryUsage(void* pointer, int64_t bytes, size_t total_allocated, size_t total_reserved,
                         c10::Device device) override {
    current += bytes;
    peak = std::max(peak, current);
    if (outer_) outer_->reportMemoryUsage(pointer, bytes, total_allocated, total_reserved, device);
  }
  bool memoryProfilingEnabled() const override { return true; }

  int64_t current = 0;
  int64_t peak = 0;

 private:
  std::shared_ptr<c10::MemoryReportingInfoBase> outer_;
};

std::shared_ptr<c10::DebugInfoBase> installed() {
  auto* info = c10::ThreadLocalDebugInfo::get(c10::DebugInfoKind::PROFILER_STATE);
  // The guard of the meter around this one owns it for longer than we live, so an aliasing pointer is enough.
  return std::shared_ptr<c10::DebugInfoBase>(std::shared_ptr<void>(), info);
}

int64_t read_bytes(const char* path, int64_t otherwise) {
  std::ifstream file(path);
  int64_t value;
  return file >> value ? value : otherwise;  // "max" does not parse, and means no limit
}

}  // namespace

struct MemoryMeter::Impl {
  std::shared_ptr<Counter> counter = std::make_shared<Counter>(installed());
  c10::DebugInfoGuard guard{c10::DebugInfoKind::PROFILER_STATE, counter};
};

MemoryMeter::MemoryMeter() : impl_(std::make_unique<Impl>()) {}
MemoryMeter::~MemoryMeter() = default;
int64_t MemoryMeter::current() const {
  return impl_->counter->current;
}
int64_t MemoryMeter::peak() const {
  return impl_->counter->peak;
}

int64_t available_memory() {
  int64_t available = std::numeric_limits<int64_t>::max();
  std::ifstream meminfo("/proc/meminfo");
  for (std::string key, unit; meminfo >> key;) {
    int64_t kibibytes = 0;
    meminfo >> kibibytes;
    std::getline(meminfo, unit);
    if (key == "MemAvailable:") available = kibibytes * 1024;
  }
  constexpr auto none = std::numeric_limits<int64_t>::max();
  int64_t limit = read_bytes("/sys/fs/cgroup/memory.max", none);
  if (limit != none) available = std::min(available, limit - read_bytes("/sys/fs/cgroup/memory.current", 0));
  return std::max<int64_t>(available, 0);
}

void prefer_large_pages(void* data, int64_t bytes) {
  constexpr uintptr_t page = uintptr_t{1} << 21;
  uintptr_t begin = (reinterpret_cast<uintptr_t>(data) + page - 1) / page * page;
  uintptr_t end = (reinterpret_cast<uintptr_t>(data) + static_cast<uintptr_t>(bytes)) / page * page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
}

int64_t peak_resident_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<int64_t>(usage.ru_maxrss) * 1024;
}

}  // namespace osculant
