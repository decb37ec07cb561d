#include "osculant/io/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "osculant/base/error.h"
#include "osculant/io/single_writer.h"

namespace osculant {
namespace {

namespace fs = std::filesystem;

std::string resolve(const std::string& path) {
  std::error_code error;
  auto real = fs::weakly_canonical(path, error);
  return error ? path : real.string();
}

// A name nobody uses: the process and a counter in it.
Descriptor create_beside(const std::string& target, mode_t mode, std::string& name) {
  static std::atomic<unsigned> counter{0};
  for (;;) {
    name = fmt::format("{}.tmp-{}-{}", target, ::getpid(), counter++);
    Descriptor file(::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
    if (file.open() || errno != EEXIST) return file;
  }
}

// 0 or errno. Devices and some file systems cannot: nothing is lost there by going on.
int sync(const Descriptor& file) {
  if (::fsync(file.get()) == 0 || errno == EINVAL || errno == ENOTSUP || errno == EROFS) return 0;
  return errno;
}

int sync_directory_of(const std::string& target) {
  auto folder = fs::path(target).parent_path();
  Descriptor directory(::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return directory.open() ? sync(directory) : 0;  // a folder may be writable and not readable
}

}  // namespace

AtomicFile::AtomicFile(const std::string& path) : path_(path), target_(resolve(path)) {
  if (!writes_files()) return;
  struct stat info;
  bool exists = ::stat(target_.c_str(), &info) == 0;
  if (exists && S_ISDIR(info.st_mode)) fail_write(path_, EISDIR);
  if (exists && !S_ISREG(info.st_mode)) {
    file_ = Descriptor(::open(target_.c_str(), O_WRONLY | O_CLOEXEC));
  } else {
    file_ = create_beside(target_, 0666, temporary_);
    // Refused for another owner's file: ours then replaces it with our own permissions.
    if (file_.open() && exists) static_cast<void>(::fchmod(file_.get(), info.st_mode & 07777));
  }
  if (!file_.open()) {
    int error = errno;
    temporary_.clear();
    fail_write(path_, error);
  }
}

AtomicFile::~AtomicFile() {
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(const void* data, size_t bytes) {
  if (!writes_files()) return;
  if (int error = file_.write_all(data, bytes)) fail_write(path_, error);
}

void AtomicFile::commit() {
  if (!writes_files()) return;
  if (int error = sync(file_)) fail_write(path_, error);
  if (int error = file_.close()) fail_write(path_, error);
  if (temporary_.empty()) return;
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) fail_write(path_, errno);
  temporary_.clear();
  if (int error = sync_directory_of(target_)) fail_write(path_, error);
}

void write_file(const std::string& path, std::string_view contents) {
  AtomicFile file(path);
  file.write(contents);
  file.commit();
}

std::string read_file(const std::string& path) {
  auto file = Descriptor::open_for_reading(path);
  std::string contents;
  for (size_t chunk = 65536;; chunk *= 2) {
    size_t have = contents.size();
    contents.resize(have + chunk);
    size_t got = file.read_at(static_cast<int64_t>(have), contents.data() + have, chunk, path);
    contents.resize(have + got);
    if (got < chunk) return contents;
  }
}

}  // namespace osculant
