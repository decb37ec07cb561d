#include "osculant/io/line_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "osculant/base/error.h"
#include "osculant/io/single_writer.h"

namespace osculant {
namespace {

// Bytes up to and including the last newline.
int64_t end_of_last_line(const Descriptor& file, int64_t size, const std::string& path) {
  std::string chunk;
  while (size > 0) {
    int64_t begin = std::max<int64_t>(0, size - 65536);
    chunk.resize(static_cast<size_t>(size - begin));
    file.read_at(begin, chunk.data(), chunk.size(), path);
    auto newline = chunk.rfind('\n');
    if (newline != std::string::npos) return begin + static_cast<int64_t>(newline) + 1;
    size = begin;
  }
  return 0;
}

}  // namespace

LineFile::LineFile(std::string path, Mode mode) : path_(std::move(path)) {
  if (!writes_files()) return;
  int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_APPEND | (mode == Mode::create ? O_TRUNC : 0);
  file_ = Descriptor(::open(path_.c_str(), flags, 0666));
  if (!file_.open()) fail_write(path_, errno);
  off_t end = ::lseek(file_.get(), 0, SEEK_END);
  size_ = std::max<int64_t>(0, end);  // -1 for a pipe
  int64_t whole = end_of_last_line(file_, size_, path_);
  if (whole != size_) truncate(whole);
}

void LineFile::append(std::string_view line) {
  if (line.find('\n') != std::string_view::npos)
    fail(ErrorKind::internal, fmt::format("{}: a line to append holds a newline", path_));
  if (!writes_files()) return;
  std::string text(line);
  text += '\n';
  if (int error = file_.write_all(text.data(), text.size())) {
    [[maybe_unused]] int ignored = ::ftruncate(file_.get(), size_);
    fail_write(path_, error);
  }
  size_ += static_cast<int64_t>(text.size());
}

void LineFile::sync() {
  if (!writes_files()) return;
  if (::fdatasync(file_.get()) != 0 && errno != EINVAL && errno != ENOTSUP && errno != EROFS)
    fail_write(path_, errno);
}

void LineFile::truncate(int64_t size) {
  if (!writes_files()) return;
  if (size < 0 || size > size_)
    fail_data(fmt::format("{}: has {} bytes and cannot be cut to {}", path_, size_, size));
  if (::ftruncate(file_.get(), size) != 0) fail_write(path_, errno);
  size_ = size;
}

}  // namespace osculant
