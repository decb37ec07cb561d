#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "osculant/base/error.h"

namespace osculant::fuzz {

// One target for each reader of files, and two for what an exported program makes the interpreter do. A
// target gives its bytes to the reader, which must either take them or throw an Error of a kind that is no
// bug of ours; anything else ends the process.
using Target = void (*)(const uint8_t* data, size_t bytes);

struct NamedTarget {
  const char* name;
  Target run;
};
extern const NamedTarget targets[];
extern const size_t target_count;

// Calls `read`; an osculant::Error other than `internal` is an answer, and everything else passes through.
template <class Read>
void accepts_or_refuses(Read read) {
  try {
    read();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::internal) return;
    std::fprintf(stderr, "an internal error: %s\n", error.what());
    std::abort();
  }
}

// The bytes as a file in memory, gone with the object.
class FileOfBytes {
 public:
  FileOfBytes(const uint8_t* data, size_t bytes);
  ~FileOfBytes();
  FileOfBytes(const FileOfBytes&) = delete;
  FileOfBytes& operator=(const FileOfBytes&) = delete;
  const std::string& path() const { return path_; }

 private:
  int descriptor_;
  std::string path_;
};

// A source of choices: bytes while there are any, then zeros.
class Choices {
 public:
  Choices(const uint8_t* data, size_t bytes) : data_(data), bytes_(bytes) {}
  uint8_t byte() { return at_ < bytes_ ? data_[at_++] : 0; }
  size_t below(size_t n) {
    size_t low = n < 2 ? 0 : byte(), high = n > 256 ? byte() : 0;
    return n < 2 ? 0 : (low + 256 * high) % n;
  }

 private:
  const uint8_t* data_;
  size_t bytes_, at_ = 0;
};

// Memory of tensors from now on: each one ends where a page begins that may not be touched, and begins behind
// another, so that libtorch's own kernels are caught when they read or write beyond a tensor. More than 64
// MiB at once are refused as if there were no more. libtorch's warnings are not printed.
void guard_tensor_memory();

}  // namespace osculant::fuzz
