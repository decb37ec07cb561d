#include "osculant/data/text_dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <filesystem>
#include <fstream>

#include "osculant/base/testing.h"

namespace osculant {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

class Text : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string write(const std::string& text, const std::string& name = "book.txt") const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return folder_ / name;
  }
  std::string refusal(const std::string& text, const TextOptions& options = {.context = 2}) const {
    auto path = write(text);
    return message_of([&] { load_text(path, options); });
  }

  std::filesystem::path folder_ =
      std::filesystem::path(testing::TempDir()) /
      ("text_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
};

Tensor inputs(const Dataset& data) {
  return data.examples().inputs[0].tensor;
}
Tensor targets(const Dataset& data) {
  return data.examples().targets[0].tensor;
}

TEST_F(Text, IsPredictedOneCharacterOn) {
  auto data = load_text(write("abcabd!"), {.context = 3});
  EXPECT_EQ(data.alphabet, U"!abcd");
  EXPECT_FALSE(data.test);
  EXPECT_TRUE(inputs(data.train).equal(torch::tensor({{1, 2, 3}, {1, 2, 4}})));
  EXPECT_TRUE(targets(data.train).equal(torch::tensor({{2, 3, 1}, {2, 4, 0}})));
  auto overlapping = load_text(write("abcabd!"), {.context = 3, .stride = 1});
  EXPECT_TRUE(inputs(overlapping.train).equal(torch::tensor({{1, 2, 3}, {2, 3, 1}, {3, 1, 2}, {1, 2, 4}})));
}

TEST_F(Text, CountsCodePointsOfUtf8) {
  auto data = load_text(write("\xef\xbb\xbf"
                              "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x99\x82"
                              "a"),
                        {.context = 4});
  EXPECT_EQ(data.alphabet, U"a\u00e9\u20ac\U0001f642");
  EXPECT_TRUE(inputs(data.train).equal(torch::tensor({{0, 1, 2, 3}})));
  EXPECT_TRUE(targets(data.train).equal(torch::tensor({{1, 2, 3, 0}})));
}

// Every character is another one, so that examples tell where they are from.
TEST_F(Text, PartsShareNoCharacterWhateverTheStride) {
  std::string text;
  for (int i = 0; i < 90; ++i) text += static_cast<char>('!' + i);
  auto data = load_text(write(text), {.context = 7, .stride = 1, .test_share = 0.3});
  ASSERT_TRUE(data.test);
  EXPECT_EQ(std::max(inputs(data.train).max().item<int64_t>(), targets(data.train).max().item<int64_t>()),
            62);
  EXPECT_EQ(inputs(*data.test).min().item<int64_t>(), 63);
  EXPECT_EQ(data.train.size(), 63 - 7);
  EXPECT_EQ(data.test->size(), 27 - 7);
}

TEST_F(Text, TestTextsAreReadInTheAlphabetOfTheTrainingText) {
  auto train = load_text(write("abcdabcd"), {.context = 2});
  auto test = load_text(write("dcb", "test.txt"), {.context = 2, .alphabet = train.alphabet});
  EXPECT_TRUE(inputs(test.train).equal(torch::tensor({{3, 2}})));
  EXPECT_THAT(message_of([&] {
                load_text(write("ab\nc\xc3\xa9", "test.txt"), {.context = 2, .alphabet = U"\nabc"});
              }),
              HasSubstr("test.txt:2: byte 4: '\xc3\xa9' (U+00E9) is no character of the training text"));
}

TEST_F(Text, IsRefusedWithFileAndPlace) {
  EXPECT_THAT(refusal(""), HasSubstr("book.txt: is empty"));
  EXPECT_THAT(refusal("\xef\xbb\xbf"), HasSubstr("book.txt: is empty"));
  EXPECT_THAT(refusal("aaaaaa"), HasSubstr("one character over and over"));
  EXPECT_THAT(refusal("ab"), HasSubstr("book.txt: has 2 characters; an example of context = 2 needs 3"));
  EXPECT_THAT(refusal("abcdefghij", {.context = 2, .test_share = 0.2}),
              HasSubstr("for testing it has 2 characters"));
  EXPECT_THAT(refusal("abcdefghij", {.context = 2, .test_share = 0.8}),
              HasSubstr("for training it has 2 characters"));
  EXPECT_THAT(message_of([&] { load_text(folder_); }), HasSubstr("is a folder"));
  EXPECT_THAT(message_of([&] { load_text(folder_ / "none"); }), HasSubstr("none: cannot be read"));
}

// A lone continuation, too few of them at the end and in the middle, forms longer than needed, a surrogate,
// beyond the last code point, a byte that is in no character.
TEST_F(Text, IsRefusedWhereItIsNoUtf8) {
  for (const char* bad : {"\x80", "\xc3", "\xe2\x82", "\xe2\x28\xa1", "\xc0\xaf", "\xe0\x80\xaf",
                          "\xf0\x80\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff"}) {
    std::string message = refusal(std::string("one\ntwo ") + bad);
    EXPECT_THAT(message, MatchesRegex(".*book.txt:2: byte 8: 0x[0-9a-f]{2} begins no character of UTF-8"));
  }
}

TEST_F(Text, HasADefaultThatDebianHas) {
  if (!std::filesystem::exists(kDefaultText)) GTEST_SKIP() << kDefaultText << " is not here: no Debian";
  auto data = load_text("", {.context = 32, .test_share = 0.1});
  EXPECT_GT(data.train.size(), 900);
  EXPECT_GT(data.test->size(), 90);
  EXPECT_NE(data.alphabet.find(U'G'), std::u32string::npos);
}

}  // namespace
}  // namespace osculant
