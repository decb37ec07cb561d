#include "osculant/io/line_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <filesystem>

#include "osculant/base/error.h"
#include "osculant/io/atomic_file.h"

namespace osculant {
namespace {

class LineFileTest : public ::testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(path_); }
  std::string path_ = testing::TempDir() + "/osculant_lines_" + std::to_string(::getpid());
};

TEST_F(LineFileTest, GrowsByLinesThatReadersSeeAtOnce) {
  LineFile lines(path_, LineFile::Mode::create);
  lines.append("{\"step\": 1}");
  EXPECT_EQ(read_file(path_), "{\"step\": 1}\n");
  lines.append("{\"step\": 2}");
  lines.sync();
  EXPECT_EQ(read_file(path_), "{\"step\": 1}\n{\"step\": 2}\n");
  EXPECT_EQ(lines.size(), 24);
  EXPECT_THROW(lines.append("two\nlines"), Error);
}

TEST_F(LineFileTest, GoesOnAfterTheLastWholeLine) {
  write_file(path_, "a\nb\nhal");
  LineFile lines(path_, LineFile::Mode::append);
  EXPECT_EQ(lines.size(), 4);
  lines.append("c");
  EXPECT_EQ(read_file(path_), "a\nb\nc\n");
  LineFile fresh(path_, LineFile::Mode::create);
  EXPECT_EQ(read_file(path_), "");
}

TEST_F(LineFileTest, CutsALongIncompleteLine) {
  write_file(path_, "a\n" + std::string(200000, 'x'));
  LineFile(path_, LineFile::Mode::append);
  EXPECT_EQ(read_file(path_), "a\n");
  write_file(path_, std::string(200000, 'x'));
  LineFile(path_, LineFile::Mode::append);
  EXPECT_EQ(read_file(path_), "");
}

TEST_F(LineFileTest, DropsWhatCameAfterACheckpoint) {
  LineFile lines(path_, LineFile::Mode::create);
  lines.append("1");
  int64_t checkpoint = lines.size();
  lines.append("2");
  lines.truncate(checkpoint);
  lines.append("2 again");
  EXPECT_EQ(read_file(path_), "1\n2 again\n");
  EXPECT_THROW(lines.truncate(1000), Error);
}

TEST_F(LineFileTest, TakesBackALineThatDoesNotFit) {
  LineFile lines(path_, LineFile::Mode::create);
  lines.append("first");
  auto handler = ::signal(SIGXFSZ, SIG_IGN);
  rlimit before;
  ::getrlimit(RLIMIT_FSIZE, &before);
  rlimit limit{10, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &limit);
  try {
    lines.append("the second one");
    ADD_FAILURE();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::write);
    EXPECT_THAT(e.what(), testing::HasSubstr(path_));
  }
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, handler);
  EXPECT_EQ(read_file(path_), "first\n");
  lines.append("third");
  EXPECT_EQ(read_file(path_), "first\nthird\n");
}

}  // namespace
}  // namespace osculant
