#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "osculant/io/descriptor.h"

namespace osculant {

// Writes a file that appears whole or not at all: bytes go to a temporary file beside it, which `commit`
// brings to the disk and renames. Without `commit`, or when writing fails, the old file stays as it was and
// the temporary one is removed. A path that is a link is followed; one that is a device or a pipe is written
// directly.
//
// Every failure is an Error(write) that names the path and the reason.
class AtomicFile {
 public:
  explicit AtomicFile(const std::string& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  void commit();

 private:
  std::string path_;       // as the caller gave it, for messages
  std::string target_;     // where links lead
  std::string temporary_;  // "" when the target is written directly
  Descriptor file_;
};

// The whole of a small file at once.
void write_file(const std::string& path, std::string_view contents);  // through AtomicFile
std::string read_file(const std::string& path);                       // Error(data) naming path and reason

}  // namespace osculant
