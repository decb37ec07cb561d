#include "osculant/io/archive.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>

#include "osculant/base/error.h"
#include "osculant/base/testing.h"
#include "osculant/io/atomic_file.h"
#include "osculant/io/safetensors.h"

namespace osculant {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class ArchiveTest : public ::testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(path_); }
  Archive reload(const Archive& archive) {
    archive.save(path_);
    return Archive::load(path_, "test", 3);
  }
  std::string path_ = testing::TempDir() + "/osculant_archive_" + std::to_string(::getpid());
};

TEST_F(ArchiveTest, GivesBackEveryTypeToTheBit) {
  Archive archive("test", 2);
  auto m = at::randn({3, 2}, at::kDouble);
  uint64_t seed = ~uint64_t{0} - 5;
  archive.put("m", m);
  archive.put("third", 1.0 / 3);
  archive.put("one", 1.0);
  archive.put("tiny", std::numeric_limits<double>::denorm_min());
  archive.put("nan", std::nan(""));
  archive.put("inf", -INFINITY);
  archive.put("step", 7);
  archive.put("lowest", std::numeric_limits<int64_t>::min());
  archive.put("seed", seed);
  archive.put("done", true);
  archive.put("name", "adam \"1\"\n\xc3\xa9");
  archive.put("list", std::vector<double>{0.1, INFINITY, 3});
  archive.put("none", std::vector<double>{});
  archive.put("words", std::vector<std::string>{"a", ""});
  auto back = reload(archive);
  EXPECT_EQ(back.kind(), "test");
  EXPECT_EQ(back.version(), 2);
  EXPECT_TRUE(back.tensor("m").equal(m));
  EXPECT_EQ(back.number("third"), 1.0 / 3);
  EXPECT_EQ(back.number("one"), 1.0);
  EXPECT_EQ(back.number("tiny"), std::numeric_limits<double>::denorm_min());
  EXPECT_TRUE(std::isnan(back.number("nan")));
  EXPECT_EQ(back.number("inf"), -INFINITY);
  EXPECT_EQ(back.integer("step"), 7);
  EXPECT_EQ(back.integer("lowest"), std::numeric_limits<int64_t>::min());
  EXPECT_EQ(static_cast<uint64_t>(back.integer("seed")), seed);
  EXPECT_TRUE(back.flag("done"));
  EXPECT_EQ(back.text("name"), "adam \"1\"\n\xc3\xa9");
  EXPECT_EQ(back.numbers("list"), (std::vector<double>{0.1, INFINITY, 3}));
  EXPECT_TRUE(back.numbers("none").empty());
  EXPECT_EQ(back.texts("words"), (std::vector<std::string>{"a", ""}));
  EXPECT_EQ(back.names(), archive.names());
}

TEST_F(ArchiveTest, ScopesNest) {
  Archive archive("test", 1);
  auto direction = archive.scope("direction");
  direction.put("age", 3);
  direction.scope("basis").put("V", at::eye(2));
  archive.put("age", 4);
  auto back = reload(archive);
  EXPECT_EQ(back.integer("age"), 4);
  EXPECT_EQ(back.scope("direction").integer("age"), 3);
  EXPECT_TRUE(back.scope("direction").scope("basis").tensor("V").equal(at::eye(2)));
  EXPECT_EQ(back.scope("direction").names(), (std::vector<std::string>{"age", "basis.V"}));
  EXPECT_TRUE(back.contains("direction.basis.V"));
  EXPECT_FALSE(back.scope("basis").contains("V"));
}

TEST_F(ArchiveTest, NamesEntryAndFileWhenReadingGoesWrong) {
  Archive archive("test", 1);
  archive.scope("direction").put("momentum", at::ones({3}));
  archive.put("step", 1);
  auto back = reload(archive);
  auto scope = back.scope("direction");
  EXPECT_THAT(message_of([&] { scope.tensor("momentun"); }),
              AllOf(HasSubstr(path_), HasSubstr("no entry \"direction.momentun\""),
                    HasSubstr("nearest is \"direction.momentum\"")));
  EXPECT_THAT(message_of([&] { back.number("step"); }),
              HasSubstr("\"step\" is a whole number, not a number"));
  EXPECT_THAT(message_of([&] { scope.tensor("momentum", at::ones({4})); }),
              AllOf(HasSubstr("direction.momentum"), HasSubstr("[3]"), HasSubstr("[4]")));
  EXPECT_THAT(message_of([&] { scope.tensor("momentum", at::ones({3}, at::kDouble)); }), HasSubstr("Double"));
  EXPECT_TRUE(scope.tensor("momentum", at::zeros({3})).equal(at::ones({3})));
}

TEST_F(ArchiveTest, RefusesToPutANameTwice) {
  Archive archive("test", 1);
  archive.put("a", 1);
  EXPECT_THAT(message_of([&] { archive.put("a", 2.0); }, ErrorKind::internal),
              HasSubstr("\"a\" is put twice"));
  message_of([&] { archive.put("b", Tensor()); }, ErrorKind::internal);
  EXPECT_EQ(archive.integer("a"), 1);
}

TEST_F(ArchiveTest, RefusesOtherKindsNewerVersionsAndDamage) {
  Archive("test", 4).save(path_);
  EXPECT_THAT(message_of([&] { Archive::load(path_, "test", 3); }),
              AllOf(HasSubstr("version 4"), HasSubstr("up to 3")));
  Archive("other", 1).save(path_);
  EXPECT_THAT(message_of([&] { Archive::load(path_, "test", 3); }), HasSubstr("is a other, not a test"));
  save_safetensors(path_, {{"a", at::ones({1})}});
  EXPECT_THAT(message_of([&] { Archive::load(path_, "test", 3); }), HasSubstr("is no test"));
  for (const char* text :
       {"", "[]", "{\"kind\":\"test\"}", "{\"kind\":\"test\",\"version\":1e30,\"values\":{}}",
        "{\"kind\":\"test\",\"version\":1,\"values\":3}",
        "{\"kind\":\"test\",\"version\":1,\"values\":{\"x\":{\"number\":\"one\"}}}",
        "{\"kind\":\"test\",\"version\":1,\"values\":{\"x\":{\"integer\":1.5}}}",
        "{\"kind\":\"test\",\"version\":1,\"values\":{\"x\":{\"texts\":[1]}}}",
        "{\"kind\":\"test\",\"version\":1,\"values\":{\"x\":{\"colour\":1}}}",
        "{\"kind\":\"test\",\"version\":1,\"values\":{\"a\":{\"integer\":1}}}"}) {
    save_safetensors(path_, {{"a", at::ones({1})}}, {{"osculant.archive", text}});
    EXPECT_THAT(message_of([&] { Archive::load(path_, "test", 3); }), HasSubstr(path_)) << text;
  }
}

// A checkpoint on a bad disk: no flipped bit gives other contents than were saved.
TEST_F(ArchiveTest, FindsEveryFlippedBit) {
  Archive archive("test", 1);
  archive.put("w", at::arange(4, at::kDouble));
  archive.put("step", 41);
  archive.save(path_);
  const auto good = read_file(path_);
  int found = 0, bits = 0;
  for (size_t i = 0; i < good.size(); ++i)
    for (int bit = 0; bit < 8; ++bit, ++bits) {
      auto flipped = good;
      flipped[i] = static_cast<char>(flipped[i] ^ (1 << bit));
      std::filesystem::remove(path_);
      std::ofstream(path_, std::ios::binary) << flipped;
      try {
        auto back = Archive::load(path_, "test", 1);
        EXPECT_TRUE(back.tensor("w").equal(at::arange(4, at::kDouble))) << i;
        EXPECT_EQ(back.integer("step"), 41) << i;
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::data);
        ++found;
      }
    }
  EXPECT_GT(found, 0.9 * bits);  // the rest are those of spaces and of the checksum's own name
}

}  // namespace
}  // namespace osculant
