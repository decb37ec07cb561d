#include "osculant/base/text.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include "osculant/base/error.h"

#include <gtest/gtest.h>
#include <torch/types.h>

namespace osculant {
namespace {

TEST(Text, FormatsAndParsesBytes) {
  EXPECT_EQ(format_bytes(512), "512 B");
  EXPECT_EQ(format_bytes(3565158), "3.4 MiB");
  EXPECT_EQ(parse_bytes("memory_budget", "2GiB"), int64_t{2} << 30);
  EXPECT_EQ(parse_bytes("memory_budget", "1.5 kb"), 1500);
  EXPECT_EQ(parse_bytes("memory_budget", "77"), 77);
  for (const char* bad : {"", "much", "-1", "3 parsecs", "nan", "1e30GB"})
    EXPECT_THROW(parse_bytes("memory_budget", bad), Error) << bad;
}

TEST(Text, FormatsDurationsAndCounts) {
  EXPECT_EQ(format_seconds(0.0421), "42.1 ms");
  EXPECT_EQ(format_seconds(200), "3 min 20 s");
  EXPECT_EQ(format_seconds(7500), "2 h 05 min");
  EXPECT_EQ(format_seconds(-1), "unknown");
  EXPECT_EQ(format_count(1501770), "1,501,770");
  EXPECT_EQ(format_count(-12), "-12");
  EXPECT_EQ(format_count(100), "100");
}

TEST(Text, TablesAlignNumbersRightAndTextLeft) {
  TextTable table({"name", "value"});
  table.add({"a", "1.5"});
  table.add({"long", "10.25"});
  EXPECT_EQ(table.str(""), "name  value\na       1.5\nlong  10.25\n");
}

TEST(Text, NearestWordSuggestsOnlyWhatIsNear) {
  EXPECT_EQ(nearest_word("metod", {"method", "steps"}), "method");
  EXPECT_EQ(nearest_word("zebra", {"method", "steps"}), "");
}

TEST(Text, GlobMatchesWholeNames) {
  EXPECT_TRUE(glob_match("features.*", "features.0.weight"));
  EXPECT_TRUE(glob_match("*.bias", "features.0.bias"));
  EXPECT_TRUE(glob_match("*a*b*c", "xxaybzc"));
  EXPECT_TRUE(glob_match("layer?.weight", "layer3.weight"));
  EXPECT_FALSE(glob_match("features", "features.0"));
  EXPECT_FALSE(glob_match("*.bias", "features.0.weight"));
  EXPECT_TRUE(glob_match("*", ""));
}

}  // namespace
}  // namespace osculant
