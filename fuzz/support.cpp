#include <ATen/Parallel.h>
#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <unordered_map>

#include "fuzz/targets.h"

namespace osculant::fuzz {
namespace {

constexpr size_t page = 4096;
constexpr size_t most = size_t{64} << 20;

struct Block {
  void* begin;
  size_t bytes;
};

std::unordered_map<void*, Block>& blocks() {
  static auto* all = new std::unordered_map<void*, Block>;  // tensors may outlive everything else
  return *all;
}

void release(void* data) {
  if (data == nullptr) return;
  auto block = blocks().extract(data);
  ::munmap(block.mapped().begin, block.mapped().bytes);
}

// An electric fence (Perens 1987) for tensors.
class GuardedMemory : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    if (bytes == 0) return {nullptr, nullptr, &release, c10::Device(c10::kCPU)};
    TORCH_CHECK(bytes <= most, "DefaultCPUAllocator: not enough memory: you tried to allocate ", bytes,
                " bytes");
    size_t whole = (bytes + page - 1) / page * page;
    size_t mapped = whole + 2 * page;
    void* begin = ::mmap(nullptr, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    TORCH_CHECK(begin != MAP_FAILED, "DefaultCPUAllocator: not enough memory");
    auto* inner = static_cast<char*>(begin) + page;
    TORCH_CHECK(::mprotect(inner, whole, PROT_READ | PROT_WRITE) == 0,
                "DefaultCPUAllocator: not enough memory");
    void* data = inner + whole - bytes;
    blocks()[data] = {begin, mapped};
    return {data, data, &release, c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }
};

class NoWarnings : public c10::WarningHandler {
  void process(const c10::Warning&) override {}
};

}  // namespace

void guard_tensor_memory() {
  static GuardedMemory memory;
  static NoWarnings no_warnings;
  static bool done = [] {
    c10::SetCPUAllocator(&memory, /*priority=*/100);
    c10::WarningUtils::set_warning_handler(&no_warnings);
    at::set_num_threads(1);
    return true;
  }();
  static_cast<void>(done);
}

FileOfBytes::FileOfBytes(const uint8_t* data, size_t bytes)
    : descriptor_(::memfd_create("fuzz", MFD_CLOEXEC)) {
  if (descriptor_ < 0) std::abort();
  for (size_t done = 0; done < bytes;) {
    ssize_t written = ::write(descriptor_, data + done, bytes - done);
    if (written <= 0) std::abort();
    done += static_cast<size_t>(written);
  }
  path_ = "/proc/self/fd/" + std::to_string(descriptor_);
}

FileOfBytes::~FileOfBytes() {
  ::close(descriptor_);
}

}  // namespace osculant::fuzz
