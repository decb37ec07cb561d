#include "osculant/io/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "osculant/base/error.h"
#include "osculant/base/testing.h"
#include "osculant/io/atomic_file.h"

namespace osculant {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class SafetensorsTest : public ::testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(path_); }

  void write_raw(uint64_t length, const std::string& header, const std::string& data) {
    std::string file(8, '\0');
    std::memcpy(file.data(), &length, 8);
    write_file(path_, file + header + data);
  }
  void write_raw(const std::string& header, const std::string& data = "") {
    write_raw(header.size(), header, data);
  }

  std::string refusal() {
    auto message = message_of([&] { load_safetensors(path_); });
    EXPECT_THAT(message, HasSubstr(path_));
    return message;
  }

  std::string path_ = testing::TempDir() + "/osculant_" + std::to_string(::getpid()) + ".safetensors";
};

TEST_F(SafetensorsTest, GivesBackWhatWasSavedInEveryDtype) {
  std::vector<NamedTensor> tensors;
  for (auto type : {at::kByte, at::kChar, at::kShort, at::kInt, at::kLong, at::kHalf, at::kBFloat16,
                    at::kFloat, at::kDouble, at::kUInt16, at::kUInt32, at::kUInt64, at::kBool})
    tensors.push_back({c10::toString(type), at::randint(0, 2, {3, 5}).to(type)});
  tensors.push_back({"scalar", at::scalar_tensor(-2.5)});
  tensors.push_back({"empty", at::zeros({0, 7})});
  tensors.push_back({"transposed", at::randn({4, 3}).t()});
  tensors.push_back({"name with \"quotes\" and \xc3\xa9", at::randn({2})});
  save_safetensors(path_, tensors, {{"format", "pt"}, {"note", "a\nb"}});
  auto file = load_safetensors(path_);
  EXPECT_EQ(file.tensors.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    const auto& loaded = file.tensor(name);
    EXPECT_EQ(loaded.scalar_type(), tensor.scalar_type());
    ASSERT_EQ(loaded.sizes(), tensor.sizes());
    auto plain = tensor.contiguous();
    if (tensor.numel() > 0) {
      EXPECT_EQ(std::memcmp(loaded.data_ptr(), plain.data_ptr(), plain.nbytes()), 0) << name;
    }
  }
  EXPECT_EQ(file.metadata, (std::map<std::string, std::string>{{"format", "pt"}, {"note", "a\nb"}}));
}

// Any set of tensors, in any memory layout, comes back to the bit; 60 sets drawn at random.
TEST_F(SafetensorsTest, GivesBackRandomSetsOfTensors) {
  const std::vector<at::ScalarType> types{at::kBool, at::kByte,  at::kShort,    at::kInt,
                                          at::kLong, at::kFloat, at::kBFloat16, at::kDouble};
  std::mt19937 random(11);
  auto below = [&](size_t n) { return static_cast<int64_t>(random() % n); };
  for (int round = 0; round < 60; ++round) {
    std::vector<NamedTensor> tensors;
    for (int64_t i = below(6); i > 0; --i) {
      std::vector<int64_t> shape(static_cast<size_t>(below(4)));
      for (auto& d : shape) d = below(5);
      auto tensor = at::randint(0, 100, shape).to(types[static_cast<size_t>(below(types.size()))]);
      if (tensor.dim() >= 2 && below(2) == 0) tensor = tensor.transpose(0, 1);
      if (tensor.dim() >= 1 && below(3) == 0) tensor = tensor.slice(0, 0, std::nullopt, 2);
      if (tensor.dim() == 1 && below(3) == 0) tensor = tensor.unsqueeze(0).expand({3, tensor.size(0)});
      tensors.push_back(
          {fmt::format("layer.{}.\"{}\"", i, std::string(static_cast<size_t>(below(9)), 'w')), tensor});
    }
    save_safetensors(path_, tensors);
    auto file = load_safetensors(path_);
    ASSERT_EQ(file.tensors.size(), tensors.size());
    for (const auto& [name, tensor] : tensors) {
      EXPECT_EQ(file.tensor(name).scalar_type(), tensor.scalar_type());
      EXPECT_TRUE(file.tensor(name).equal(tensor)) << round << " " << name;
    }
  }
}

TEST_F(SafetensorsTest, ReadsAFileWrittenByHand) {
  write_raw(
      R"({"a":{"dtype":"I16","shape":[2],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[],"data_offsets":[4,5]}}  )",
      std::string("\x01\x00\xff\xff\x07", 5));
  auto file = load_safetensors(path_);
  EXPECT_TRUE(file.tensor("a").equal(at::tensor({1, -1}, at::kShort)));
  EXPECT_EQ(file.tensor("b").item<int>(), 7);
  EXPECT_FALSE(file.contains("c"));
  EXPECT_THROW(file.tensor("c"), Error);
  write_raw("{}");
  EXPECT_TRUE(load_safetensors(path_).tensors.empty());
}

TEST_F(SafetensorsTest, RefusesAHeaderLongerThanTheFileBeforeAllocating) {
  write_raw(uint64_t{1} << 60, "{}", "");
  EXPECT_THAT(refusal(), AllOf(HasSubstr("1152921504606846976 bytes"), HasSubstr("the file has 10")));
  write_raw(~uint64_t{0}, "{}", "");
  EXPECT_THAT(refusal(), HasSubstr("18446744073709551615"));
  write_file(path_, "\x01\x02");
  EXPECT_THAT(refusal(), HasSubstr("has 2 bytes"));
}

TEST_F(SafetensorsTest, RefusesHeadersThatAreNoHeaders) {
  write_raw("[1, 2]");
  EXPECT_THAT(refusal(), HasSubstr("no JSON object"));
  write_raw(R"({"a": )");
  EXPECT_THAT(refusal(), HasSubstr("not valid JSON at byte"));
  write_raw(R"({"a":)" + std::string(100000, '[') + "}");
  EXPECT_THAT(refusal(), HasSubstr("nested too deeply"));
  write_raw(
      R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
      "x");
  EXPECT_THAT(refusal(), HasSubstr("the name \"a\" twice"));
  write_raw(R"({"__metadata__":{"a":1}})");
  EXPECT_THAT(refusal(), HasSubstr("must be a text"));
}

TEST_F(SafetensorsTest, RefusesEntriesThatDoNotAgreeWithThemselves) {
  auto entry = [&](const std::string& fields, const std::string& data = "12345678") {
    write_raw(R"({"weight":{)" + fields + "}}", data);
    auto message = refusal();
    EXPECT_THAT(message, HasSubstr("\"weight\""));
    return message;
  };
  EXPECT_THAT(entry(R"("dtype":"F12","shape":[2],"data_offsets":[0,8])"),
              AllOf(HasSubstr("F12"), HasSubstr("BF16")));
  EXPECT_THAT(entry(R"("dtype":"F32","shape":[3],"data_offsets":[0,8])"), HasSubstr("takes 12 bytes"));
  EXPECT_THAT(entry(R"("dtype":"F32","shape":[-2],"data_offsets":[0,8])"), HasSubstr("whole numbers >= 0"));
  EXPECT_THAT(entry(R"("dtype":"F32","shape":[2.0],"data_offsets":[0,8])"), HasSubstr("whole numbers >= 0"));
  EXPECT_THAT(entry(R"("dtype":"F32","shape":2,"data_offsets":[0,8])"), HasSubstr("must be an array"));
  EXPECT_THAT(entry(R"("dtype":"F32","shape":[2],"data_offsets":[0])"), HasSubstr("two whole numbers"));
  EXPECT_THAT(entry(R"("dtype":"F32","shape":[2])"), HasSubstr("has no \"data_offsets\""));
  EXPECT_THAT(entry(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])"), HasSubstr("lie outside"));
  EXPECT_THAT(entry(R"("dtype":"F32","shape":[2],"data_offsets":[4,12])"), HasSubstr("lie outside"));
  EXPECT_THAT(entry(R"("dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8])"),
              HasSubstr("overflows"));
  EXPECT_THAT(entry(R"("dtype":"F32","shape":[0,4611686018427387904,4],"data_offsets":[0,0])"),
              HasSubstr("overflows"));
  EXPECT_THAT(entry(R"("dtype":"BOOL","shape":[8],"data_offsets":[0,8])"),
              HasSubstr("a bool must be 0 or 1"));
}

TEST_F(SafetensorsTest, RefusesHolesOverlapsAndBytesLeftOver) {
  auto bytes = [](int a, int b) {
    return fmt::format(R"({{"dtype":"U8","shape":[{}],"data_offsets":[{},{}]}})", b - a, a, b);
  };
  write_raw(fmt::format(R"({{"a":{},"b":{}}})", bytes(0, 4), bytes(3, 8)), "12345678");
  EXPECT_THAT(refusal(), AllOf(HasSubstr("\"b\""), HasSubstr("overlapping")));
  write_raw(fmt::format(R"({{"a":{},"b":{}}})", bytes(0, 4), bytes(5, 8)), "12345678");
  EXPECT_THAT(refusal(), AllOf(HasSubstr("\"b\""), HasSubstr("hole")));
  write_raw(fmt::format(R"({{"a":{}}})", bytes(0, 4)), "12345678");
  EXPECT_THAT(refusal(), AllOf(HasSubstr("has 8 bytes of data"), HasSubstr("cover 4")));
}

TEST_F(SafetensorsTest, RefusesMoreDimensionsThanTensorsHave) {
  std::string ones = "1";
  for (int i = 0; i < 64; ++i) ones += ",1";
  write_raw(fmt::format(R"({{"a":{{"dtype":"U8","shape":[{}],"data_offsets":[0,1]}}}})", ones), "1");
  EXPECT_THAT(refusal(), AllOf(HasSubstr("\"a\""), HasSubstr("65 dimensions, at most 64")));
}

TEST_F(SafetensorsTest, RefusesFilesThatAreNotThere) {
  EXPECT_THAT(refusal(), HasSubstr("No such file or directory"));
  std::string folder = testing::TempDir();
  try {
    load_safetensors(folder);
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("it is a directory"));
  }
}

TEST_F(SafetensorsTest, SurvivesEveryTruncationAndEveryFlippedByte) {
  save_safetensors(path_, {{"a", at::arange(3)}, {"b", at::ones({2, 2})}, {"flag", at::ones({2}, at::kBool)}},
                   {{"k", "v"}});
  auto good = read_file(path_);
  auto load = [&](const std::string& contents) {
    std::filesystem::remove(path_);  // some file systems flush a file that is cut and written again
    std::ofstream(path_, std::ios::binary) << contents;  // no write_file: it waits for the disk each time
    try {
      auto file = load_safetensors(path_);
      int64_t bytes = 0;
      for (const auto& t : file.tensors) bytes += static_cast<int64_t>(t.tensor.nbytes());
      EXPECT_LE(bytes, static_cast<int64_t>(contents.size()));
      return true;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::data) << e.what();
      return false;
    }
  };
  ASSERT_TRUE(load(good));
  for (size_t length = 0; length < good.size(); ++length)
    EXPECT_FALSE(load(good.substr(0, length))) << length;
  EXPECT_FALSE(load(good + "x"));
  for (size_t i = 0; i < good.size(); ++i)
    for (unsigned char mask : {0x01, 0x04, 0x20, 0x80, 0xff}) {
      auto flipped = good;
      flipped[i] = static_cast<char>(static_cast<unsigned char>(flipped[i]) ^ mask);
      load(flipped);
    }
}

TEST_F(SafetensorsTest, RefusesToSaveWhatItCouldNotLoad) {
  auto x = at::ones({2});
  for (const std::vector<NamedTensor>& tensors : {std::vector<NamedTensor>{{"a", x}, {"a", x}},
                                                  {{"__metadata__", x}},
                                                  {{"a", Tensor()}},
                                                  {{"a", x.to(at::kComplexFloat)}},
                                                  {{"\xff", x}}}) {
    try {
      save_safetensors(path_, tensors);
      ADD_FAILURE();
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::usage);
    }
    EXPECT_FALSE(std::filesystem::exists(path_));
  }
}

}  // namespace
}  // namespace osculant
