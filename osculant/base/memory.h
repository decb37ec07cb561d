#pragma once

#include <cstdint>
#include <memory>

namespace osculant {

// Counts the bytes of tensors allocated and freed by this thread between construction and destruction, on any
// device, as libtorch's allocators report them. Meters nest: an inner one also feeds those around it.
//
//   MemoryMeter meter;
//   auto graph = build();
//   int64_t kept = meter.current();   // what build() left allocated
//   int64_t most = meter.peak();      // the most that was allocated at once
class MemoryMeter {
 public:
  MemoryMeter();
  ~MemoryMeter();
  MemoryMeter(const MemoryMeter&) = delete;
  MemoryMeter& operator=(const MemoryMeter&) = delete;

  int64_t current() const;  // bytes allocated less bytes freed; negative when older tensors were freed
  int64_t peak() const;     // largest value current() has had; >= 0

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Bytes of physical memory that new work may use now: MemAvailable, lowered to the limit of the control group
// the process runs in. Used to resolve a memory budget once, at the start of a run.
int64_t available_memory();

// A hint that a large buffer in main memory is about to be filled: with large pages its first touch costs one
// fault for 2 MiB instead of 512. Does nothing where the system has none.
void prefer_large_pages(void* data, int64_t bytes);

// The largest resident set the process has had, bytes.
int64_t peak_resident_memory();

}  // namespace osculant
