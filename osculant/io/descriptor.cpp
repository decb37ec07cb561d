#include "osculant/io/descriptor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "osculant/base/error.h"

namespace osculant {

std::string error_text(int error) {
  return std::generic_category().message(error);
}

void fail_write(const std::string& path, int error) {
  fail(ErrorKind::write, fmt::format("cannot write {}: {}", path, error_text(error)));
}

Descriptor::~Descriptor() {
  close();
}

Descriptor Descriptor::open_for_reading(const std::string& path) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.open()) fail_data(fmt::format("cannot read {}: {}", path, error_text(errno)));
  struct stat info;
  if (::fstat(file.get(), &info) != 0) fail_data(fmt::format("cannot read {}: {}", path, error_text(errno)));
  if (S_ISDIR(info.st_mode)) fail_data(fmt::format("cannot read {}: it is a directory", path));
  return file;
}

int Descriptor::close() {
  if (fd_ < 0) return 0;
  return ::close(std::exchange(fd_, -1)) == 0 ? 0 : errno;
}

int Descriptor::write_all(const void* data, size_t bytes) const {
  const char* at = static_cast<const char*>(data);
  while (bytes > 0) {
    ssize_t written = ::write(fd_, at, bytes);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    at += written;
    bytes -= static_cast<size_t>(written);
  }
  return 0;
}

size_t Descriptor::read_at(int64_t offset, void* data, size_t bytes, const std::string& path) const {
  size_t done = 0;
  while (done < bytes) {
    ssize_t got =
        ::pread(fd_, static_cast<char*>(data) + done, bytes - done, offset + static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_data(fmt::format("cannot read {}: {}", path, error_text(errno)));
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return done;
}

}  // namespace osculant
