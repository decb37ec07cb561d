#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace osculant {

// An open file of the operating system, closed with the object. For the readers and writers of this folder.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor();

  // Opens a regular file or device for reading. Throws Error(data) naming the path and the reason.
  static Descriptor open_for_reading(const std::string& path);

  int get() const { return fd_; }
  bool open() const { return fd_ >= 0; }
  int close();  // 0, or the errno of close(2)

  // Writes all of it. 0, or the errno that stopped it.
  int write_all(const void* data, size_t bytes) const;

  // Reads up to `bytes` at `offset`, fewer only at the end of the file. Throws Error(data) naming `path`.
  size_t read_at(int64_t offset, void* data, size_t bytes, const std::string& path) const;

 private:
  int fd_ = -1;
};

// "cannot write runs/a/result.json: No space left on device"
[[noreturn]] void fail_write(const std::string& path, int error);

// errno's text: "No space left on device".
std::string error_text(int error);

}  // namespace osculant
