#include "osculant/io/torch_file.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "osculant/base/error.h"
#include "osculant/io/record_tensors.h"
#include "osculant/io/torch_pickle.h"
#include "osculant/io/zip_file.h"
#include "osculant/io/zip_testing.h"

namespace osculant {
namespace {

using namespace testing_zip;
using namespace std::string_literals;
using testing::AllOf;
using testing::HasSubstr;

std::string refusal(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::data) << error.what();
    return error.what();
  }
  return "nothing was thrown";
}

class TorchFile : public testing::Test {
 protected:
  std::string path_ = testing::TempDir() + "osculant_torch_file_" + std::to_string(getpid()) + ".pt";
  void TearDown() override { std::remove(path_.c_str()); }

  std::string opening(const std::vector<Record>& records) { return opening(zip_of(records)); }
  std::string opening(const std::string& bytes) {
    write_bytes(path_, bytes);
    return refusal([&] { ZipFile archive(path_); });
  }
};

TEST_F(TorchFile, RecordsAreReadStoredAndPacked) {
  std::string zeros(5000, '\0');
  write_bytes(
      path_,
      zip_of({{"a/one", "content"}, {"a/two", zeros, 8}, {"a/none", ""}, {"a/pad", std::string(6000, 'x')}}));
  ZipFile archive(path_);
  EXPECT_EQ(archive.text("one"), "content");
  EXPECT_EQ(archive.text("two"), zeros);
  EXPECT_EQ(archive.text("none"), "");
  EXPECT_FALSE(archive.has("three"));
  EXPECT_THAT(refusal([&] { archive.text("three"); }),
              AllOf(HasSubstr(path_), HasSubstr("no record \"three\"")));
}

TEST_F(TorchFile, NamesThatLeadOutOfAnArchiveAreRefused) {
  EXPECT_THAT(opening({{"/etc/passwd", "x"}}), HasSubstr("absolute"));
  EXPECT_THAT(opening({{"a/../../b", "x"}}), HasSubstr("leads out"));
  EXPECT_THAT(opening({{"a\\b", "x"}}), HasSubstr("no archive of torch has"));
  EXPECT_THAT(opening({{"a/\x1b[2Jb", "x"}}), HasSubstr("no archive of torch has"));
  EXPECT_THAT(opening({{"a/b", "x"}, {"a/b", "y"}}), HasSubstr("twice"));
  EXPECT_THAT(opening({{"a/b", "x", 0, 0, UINT32_MAX, UINT32_MAX, 0, "a/c"}}), HasSubstr("another name"));
}

TEST_F(TorchFile, RecordsThatShareOrLeaveTheBytesAreRefused) {
  EXPECT_THAT(opening({{"a/b", "same bytes"}, {"a/b", "", 0, 0, 10, 0}}),
              HasSubstr("claims 10 bytes and is stored in 0"));
  // The second lies inside the first, which holds a header for it.
  std::string inner = zip_of({{"a/c", "xy"}}).substr(0, 35);
  EXPECT_THAT(opening({{"a/b", inner}, {"a/c", "xy", 0, 0, UINT32_MAX, 33}}), HasSubstr("overlaps"));
  EXPECT_THAT(opening({{"a/b", "xy", 0, 0, UINT32_MAX, 4000000}}), HasSubstr("the file has"));
  EXPECT_THAT(opening({{"a/b", "xy", 0, 0, UINT32_MAX, 1}}), HasSubstr("is not at byte 1"));
  EXPECT_THAT(opening({{"a/b", "xy", 0, 1}}), HasSubstr("encrypted"));
  EXPECT_THAT(opening({{"a/b", "xy", 12}}), HasSubstr("method 12"));
}

TEST_F(TorchFile, BombsAreRefusedByWhatTheyClaim) {
  std::string bomb(1 << 20, '\0');
  EXPECT_THAT(opening({{"a/b", bomb, 8}}), AllOf(HasSubstr("claims 1048576 bytes"), HasSubstr("whole file")));
  // One that claims less than it holds.
  write_bytes(path_, zip_of({{"a/b", bomb, 8, 0, 100}}));
  EXPECT_THAT(refusal([&] { ZipFile(path_).text("b"); }), HasSubstr("do not give the 100 that it claims"));
}

TEST_F(TorchFile, DamageIsFound) {
  std::string good = zip_of({{"a/b", "content"}});
  write_bytes(path_, zip_of({{"a/b", "content", 0, 0, UINT32_MAX, UINT32_MAX, 1}}));
  EXPECT_THAT(refusal([&] { ZipFile(path_).text("b"); }), HasSubstr("checksum"));
  for (size_t length = 0; length < good.size(); ++length)
    EXPECT_THAT(opening(good.substr(0, length)), HasSubstr(path_)) << length;
  std::string many = good;
  many[many.size() - 12] = many[many.size() - 14] = 7;  // records that are not there
  EXPECT_THAT(opening(many), HasSubstr("claims 7 records"));
}

// ---- tensors in records

TEST_F(TorchFile, PlacementsStayWithinTheirRecord) {
  std::string numbers(16, '\0');
  write_bytes(path_, zip_of({{"a/b", numbers}}));
  ZipFile archive(path_);
  RecordTensors records(archive);
  auto refused = [&](const Placement& placement) {
    return refusal([&] { records.tensor("b", placement, "here"); });
  };
  EXPECT_EQ(records.tensor("b", {{2, 2}, {2, 1}, 0, at::kFloat}, "here").numel(), 4);
  EXPECT_TRUE(records.tensor("b", {{2, 2}, {2, 1}, 0, at::kFloat}, "here")
                  .is_same(records.tensor("b", {{2, 2}, {2, 1}, 0, at::kFloat}, "here")));
  EXPECT_THAT(refused({{5}, {1}, 0, at::kFloat}), HasSubstr("reach beyond the 4 elements"));
  EXPECT_THAT(refused({{4}, {1}, 1, at::kFloat}), HasSubstr("reach beyond"));
  EXPECT_THAT(refused({{2}, {INT64_MAX}, 1, at::kFloat}), HasSubstr("reach beyond"));
  EXPECT_THAT(refused({{2}, {-1}, 1, at::kFloat}), HasSubstr("here.strides: -1 is negative"));
  EXPECT_THAT(refused({{-2}, {1}, 1, at::kFloat}), HasSubstr("here.sizes: -2 is negative"));
  EXPECT_THAT(refused({{1}, {1}, -1, at::kFloat}), HasSubstr("storage_offset -1"));
  EXPECT_THAT(refused({{INT64_MAX, INT64_MAX, 0}, {1, 1, 1}, 0, at::kFloat}), HasSubstr("reach beyond"));
  EXPECT_THAT(refused({std::vector<int64_t>(65, 1), std::vector<int64_t>(65, 1), 0, at::kFloat}),
              HasSubstr("65 dimensions"));
}

TEST_F(TorchFile, ManyViewsOfOneRecordAreNoWayToFillMemory) {
  write_bytes(path_, zip_of({{"a/b", std::string(64, '\0')}}));
  ZipFile archive(path_);
  RecordTensors records(archive);
  EXPECT_THAT(refusal([&] {
                for (int64_t i = 0; i < 8; ++i)  // 4 MiB each, by strides of 0
                  records.tensor("b", {{1 << 20}, {0}, i, at::kFloat}, "here");
              }),
              HasSubstr("more than 16 times"));
}

TEST_F(TorchFile, RecordsAreReadAgainAndAgainByFew) {
  std::string half(1 << 22, '\0');
  write_bytes(path_, zip_of({{"a/b", half}, {"a/c", half}}));
  ZipFile archive(path_);
  RecordTensors records(archive);
  for (int64_t i = 0; i < 1000; ++i) records.tensor("b", {{1}, {1}, i, at::kFloat}, "here");
  EXPECT_THAT(refusal([&] {
                for (int64_t i = 0; i < 100; ++i)
                  for (const char* record : {"b", "c"})
                    records.tensor(record, {{1}, {1}, 1000 + i, at::kFloat}, "here");
              }),
              HasSubstr("bytes to read, more than 16 times"));
}

TEST_F(TorchFile, FlagsAreZeroOrOne) {
  write_bytes(path_, zip_of({{"a/b", "\x01\x02"s}}));
  ZipFile archive(path_);
  RecordTensors records(archive);
  EXPECT_THAT(refusal([&] {
                records.tensor("b", {{2}, {1}, 0, at::kBool}, "here");
              }),
              HasSubstr("element 1 is 2, a bool must be 0 or 1"));
}

// ---- pickles

std::string text(const std::string& s) {
  std::string bytes = "X";
  append(bytes, static_cast<uint32_t>(s.size()));
  return bytes + s;
}
std::string global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
// A tensor [2] of floats at the start of a storage.
std::string tensor(const std::string& storage_type = "FloatStorage", const std::string& sizes = "K\x02\x85") {
  return global("torch._utils", "_rebuild_tensor_v2") + "((" + text("storage") +
         global("torch", storage_type) + text("0") + text("cpu") + "K\x02tQK\0"s + sizes + "K\x01\x85\x89" +
         global("collections", "OrderedDict") + ")RtR";
}
std::string dict(const std::string& value) {
  return "\x80\x02}"s + text("inputs") + value + "s.";
}
std::string refused_pickle(const std::string& pickle) {
  return refusal([&] { parse_pickled_tensors(pickle, "a.pt"); });
}

TEST(TorchPickle, IsADictOfTensors) {
  auto tensors = parse_pickled_tensors(dict(tensor()), "a.pt");
  ASSERT_EQ(tensors.size(), 1u);
  EXPECT_EQ(tensors[0].name, "inputs");
  EXPECT_EQ(tensors[0].record, "data/0");
  EXPECT_EQ(tensors[0].placement.sizes, std::vector<int64_t>{2});
  EXPECT_EQ(tensors[0].placement.dtype, at::kFloat);
}

TEST(TorchPickle, TypesThatLibtorchAddsArePassedOver) {
  std::string tagged = "\x80\x02"s + global("torch.jit._pickle", "restore_type_tag") + "(}" + text("x") +
                       tensor() + "s" + text("Dict[str, Tensor]") + "tR.";
  EXPECT_EQ(parse_pickled_tensors(tagged, "a.pt").at(0).name, "x");
}

TEST(TorchPickle, NothingElseIsBuiltOrCalled) {
  EXPECT_THAT(refused_pickle(dict(global("os", "system") + text("true") + "\x85R")),
              AllOf(HasSubstr("a.pt: names os system"), HasSubstr("only a dict of tensors")));
  EXPECT_THAT(refused_pickle(dict(global("torch", "FloatStorage") + ")R")),
              HasSubstr("calls torch FloatStorage"));
  EXPECT_THAT(refused_pickle(dict("K\x01")), HasSubstr("\"inputs\" is a whole number, expected a tensor"));
  EXPECT_THAT(refused_pickle("\x80\x02K\x01."s), HasSubstr("expected a dict of tensors"));
  EXPECT_THAT(refused_pickle("\x80\x02}K\x01K\x02s."s), HasSubstr("a key of its dict"));
  EXPECT_THAT(refused_pickle("\x80\x04."s), HasSubstr("protocol 4"));
  EXPECT_THAT(refused_pickle(dict(tensor("QInt8Storage"))), HasSubstr("QInt8Storage"));
  EXPECT_THAT(refused_pickle(dict(tensor("FloatStorage", text("x") + "\x85"))),
              HasSubstr("expected a whole number"));
}

TEST(TorchPickle, WhatIsRecalledIsShort) {
  std::string sizes = "(";
  for (int i = 0; i < 65; ++i) sizes += "K\x01";
  EXPECT_THAT(refused_pickle(dict(tensor("FloatStorage", sizes + "t"))), HasSubstr("65 dimensions"));
  EXPECT_THAT(refused_pickle("\x80\x02}"s + text(std::string(1025, 'a')) + tensor() + "s."),
              HasSubstr("a name of 1025 bytes"));
}

TEST(TorchPickle, DamageIsNamedByItsByte) {
  const std::string good = dict(tensor());
  for (size_t length = 0; length < good.size(); ++length)
    EXPECT_THAT(refused_pickle(good.substr(0, length)), HasSubstr("a.pt: ")) << length;
  for (const char* empty : {"s", "u", "t", "\x85", "R", "Q", "b", "q\x01", ".", "(."})
    EXPECT_THAT(refused_pickle("\x80\x02"s + empty + "."), HasSubstr("lacks a")) << empty;
  EXPECT_THAT(refused_pickle("\x80\x02h\x05."s), HasSubstr("recalls the value 5"));
  EXPECT_THAT(refused_pickle("\x80\x02\x8a\x09"s + std::string(9, 'x')), HasSubstr("9 bytes"));
}

TEST_F(TorchFile, AStorageIsAsLongAsItsRecord) {
  write_bytes(path_, zip_of({{"a/data.pkl", dict(tensor())}, {"a/data/0", std::string(8, '\0')}}));
  EXPECT_TRUE(at::equal(load_torch_tensors(path_).at(0).tensor, at::zeros({2})));
  write_bytes(path_, zip_of({{"a/data.pkl", dict(tensor())}, {"a/data/0", std::string(7, '\0')}}));
  EXPECT_THAT(refusal([&] { load_torch_tensors(path_); }),
              AllOf(HasSubstr(path_ + ": \"inputs\""), HasSubstr("reach beyond the 1 elements")));
  write_bytes(path_, zip_of({{"a/data.pkl", dict(tensor())}, {"a/data/1", std::string(8, '\0')}}));
  EXPECT_THAT(refusal([&] { load_torch_tensors(path_); }), HasSubstr("record data/0 is missing"));
  write_bytes(path_, zip_of({{"a/other", "x"}}));
  EXPECT_THAT(refusal([&] { load_torch_tensors(path_); }), HasSubstr("is no dict of tensors"));
}

}  // namespace
}  // namespace osculant
