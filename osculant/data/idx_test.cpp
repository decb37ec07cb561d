#include "osculant/data/idx.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>
#include <zlib.h>

#include <filesystem>
#include <fstream>

#include "osculant/base/error.h"
#include "osculant/base/testing.h"

namespace osculant {
namespace {

using ::testing::HasSubstr;

std::string bytes(std::initializer_list<int> values) {
  std::string text;
  for (int v : values) text += static_cast<char>(v);
  return text;
}

std::string compressed(const std::string& plain) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);  // + 16: gzip
  std::string out(plain.size() + 100, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(plain.data()));
  stream.avail_in = static_cast<uInt>(plain.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

class IdxTest : public ::testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(path_); }
  Tensor load(const std::string& contents) {
    std::filesystem::remove(path_);  // some file systems flush a file that is cut and written again
    std::ofstream(path_, std::ios::binary) << contents;
    return load_idx(path_);
  }
  std::string refusal(const std::string& contents) {
    auto message = message_of([&] { load(contents); });
    EXPECT_THAT(message, HasSubstr(path_));
    return message;
  }
  const std::string matrix_ = bytes({0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 255});
  std::string path_ = testing::TempDir() + "/osculant_idx_" + std::to_string(::getpid());
};

TEST_F(IdxTest, ReadsBytesPlainAndCompressed) {
  auto expected = at::tensor({1, 2, 3, 4, 5, 255}, at::kByte).view({2, 3});
  EXPECT_TRUE(load(matrix_).equal(expected));
  EXPECT_TRUE(load(compressed(matrix_)).equal(expected));
}

TEST_F(IdxTest, ReadsWiderElementsBigEndian) {
  EXPECT_TRUE(
      load(bytes({0, 0, 0x0B, 1, 0, 0, 0, 2, 1, 2, 255, 255})).equal(at::tensor({258, -1}, at::kShort)));
  EXPECT_TRUE(load(bytes({0, 0, 0x0C, 1, 0, 0, 0, 1, 0, 1, 0, 0})).equal(at::tensor({65536}, at::kInt)));
  EXPECT_TRUE(load(bytes({0, 0, 0x0D, 1, 0, 0, 0, 1, 0xC0, 0x20, 0, 0})).equal(at::tensor({-2.5f})));
  EXPECT_TRUE(load(bytes({0, 0, 0x0E, 1, 0, 0, 0, 1, 0x3F, 0xF8, 0, 0, 0, 0, 0, 0}))
                  .equal(at::tensor({1.5}, at::kDouble)));
}

TEST_F(IdxTest, RefusesDamage) {
  EXPECT_THAT(refusal(""), HasSubstr("cut short"));
  EXPECT_THAT(refusal(bytes({0, 1, 8, 1, 0, 0, 0, 0})), HasSubstr("begins with 00 01"));
  EXPECT_THAT(refusal(bytes({0, 0, 7, 1, 0, 0, 0, 0})), HasSubstr("0x07"));
  EXPECT_THAT(refusal(bytes({0, 0, 8, 3, 0, 0, 0, 1})), HasSubstr("cut short in its 3 dimensions"));
  EXPECT_THAT(refusal(matrix_.substr(0, matrix_.size() - 1)), HasSubstr("take 6 bytes, it has 5"));
  EXPECT_THAT(refusal(matrix_ + "x"), HasSubstr("more bytes"));
  EXPECT_THAT(refusal(bytes({0, 0, 8, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255})),
              HasSubstr("overflow"));
  EXPECT_THAT(refusal(bytes({0, 0, 8, 2, 255, 255, 255, 255, 0, 255, 255, 255, 1})), HasSubstr("it has 1"));
  EXPECT_THAT(refusal(bytes({0, 0, 8, 17}) + std::string(68, 1)), HasSubstr("has 17 dimensions, at most 16"));
  auto zipped = compressed(matrix_);
  EXPECT_THAT(refusal(zipped.substr(0, zipped.size() - 3)), HasSubstr("cut short"));
  zipped[zipped.size() - 8] ^= 1;  // the checksum
  EXPECT_THAT(refusal(zipped), HasSubstr("damaged"));
  std::filesystem::remove(path_);
  EXPECT_THROW(load_idx(path_), Error);
}

TEST_F(IdxTest, SurvivesEveryTruncationAndFlippedByte) {
  for (const auto& good : {matrix_, compressed(matrix_)}) {
    for (size_t length = 0; length < good.size(); ++length)
      EXPECT_THROW(load(good.substr(0, length)), Error) << length;
    for (size_t i = 0; i < good.size(); ++i)
      for (unsigned char mask : {0x01, 0x10, 0x80, 0xff}) {
        auto flipped = good;
        flipped[i] = static_cast<char>(static_cast<unsigned char>(flipped[i]) ^ mask);
        try {
          EXPECT_LE(load(flipped).numel(), 6);
        } catch (const Error& e) {
          EXPECT_EQ(e.kind(), ErrorKind::data);
        }
      }
  }
}

}  // namespace
}  // namespace osculant
