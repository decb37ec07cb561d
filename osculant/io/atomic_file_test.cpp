#include "osculant/io/atomic_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <filesystem>
#include <functional>

#include "osculant/base/error.h"

namespace osculant {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class AtomicFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "/osculant_atomic_" + std::to_string(::getpid());
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  size_t files() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }
  std::string folder_;
};

std::string write_failure(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::write);
    return e.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

// The largest file this process may write, as a full disk would limit it.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    handler_ = ::signal(SIGXFSZ, SIG_IGN);
    rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_;
  sighandler_t handler_;
};

TEST_F(AtomicFileTest, AppearsOnlyWhenCommitted) {
  AtomicFile file(path("a"));
  file.write("half");
  EXPECT_FALSE(fs::exists(path("a")));
  file.write(" and half");
  file.commit();
  EXPECT_EQ(read_file(path("a")), "half and half");
  EXPECT_EQ(files(), 1u);
}

TEST_F(AtomicFileTest, AbandonedLeavesTheOldFileAndNoOther) {
  write_file(path("a"), "old");
  {
    AtomicFile file(path("a"));
    file.write("new");
  }
  EXPECT_EQ(read_file(path("a")), "old");
  EXPECT_EQ(files(), 1u);
}

TEST_F(AtomicFileTest, FullDiskLeavesTheOldFileAndSaysSo) {
  write_file(path("a"), "old");
  {
    FileSizeLimit limit(1000);
    EXPECT_THAT(write_failure([&] { write_file(path("a"), std::string(5000, 'x')); }),
                testing::AllOf(HasSubstr(path("a")), HasSubstr("File too large")));
  }
  EXPECT_EQ(read_file(path("a")), "old");
  EXPECT_EQ(files(), 1u);
  EXPECT_THAT(write_failure([] { write_file("/dev/full", "x"); }),
              testing::StrEq("cannot write /dev/full: No space left on device"));
  EXPECT_TRUE(fs::is_character_file("/dev/full"));
}

TEST_F(AtomicFileTest, NamesPathAndReason) {
  EXPECT_THAT(write_failure([&] { AtomicFile(path("absent/a")); }),
              testing::AllOf(HasSubstr("absent/a"), HasSubstr("No such file or directory")));
  EXPECT_THAT(write_failure([&] { AtomicFile{folder_}; }), HasSubstr("Is a directory"));
  try {
    read_file(path("absent"));
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::data);
    EXPECT_THAT(e.what(), testing::AllOf(HasSubstr("absent"), HasSubstr("No such file")));
  }
}

TEST_F(AtomicFileTest, FollowsLinksAndKeepsPermissions) {
  write_file(path("real"), "old");
  fs::permissions(path("real"), fs::perms::owner_read | fs::perms::owner_write);
  fs::create_symlink(path("real"), path("link"));
  write_file(path("link"), "new");
  EXPECT_TRUE(fs::is_symlink(path("link")));
  EXPECT_EQ(read_file(path("real")), "new");
  EXPECT_EQ(fs::status(path("real")).permissions(), fs::perms::owner_read | fs::perms::owner_write);
}

TEST_F(AtomicFileTest, ReadsFilesOfAnySize) {
  for (size_t size : {0u, 1u, 65535u, 65536u, 65537u, 300000u}) {
    std::string text(size, 'y');
    if (size > 0) text.back() = 'z';
    write_file(path("a"), text);
    EXPECT_EQ(read_file(path("a")), text);
  }
}

}  // namespace
}  // namespace osculant
