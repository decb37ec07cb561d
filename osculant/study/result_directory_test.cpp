#include "osculant/study/result_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "osculant/base/error.h"
#include "osculant/study/checkpoint_files.h"
#include "osculant/study/result_files.h"

namespace osculant {
namespace {

namespace fs = std::filesystem;

class ResultDirectoryTest : public ::testing::Test {
 protected:
  ResultDirectoryTest() {
    folder_ = fs::temp_directory_path() / fmt::format("osculant_results_{}", getpid());
    fs::remove_all(folder_);
  }
  ~ResultDirectoryTest() override { fs::remove_all(folder_); }
  std::string path() const { return (folder_ / "a" / "b").string(); }
  void put(const std::string& name) const { std::ofstream(path() + "/" + name) << "x"; }

  template <class Function>
  ErrorKind kind_of(Function f) {
    try {
      f();
    } catch (const Error& error) {
      return error.kind();
    }
    ADD_FAILURE() << "nothing was thrown";
    return ErrorKind::internal;
  }

  fs::path folder_;
};

TEST_F(ResultDirectoryTest, HoldingResultsNeedsResumeOrOverwrite) {
  { ResultDirectory(path(), Existing::refuse).write("result.json", "{}"); }
  put("checkpoints");
  put("notes.txt");
  EXPECT_EQ(kind_of([&] { ResultDirectory again(path(), Existing::refuse); }), ErrorKind::usage);
  { ResultDirectory again(path(), Existing::resume); }
  EXPECT_TRUE(fs::exists(path() + "/result.json"));
  { ResultDirectory again(path(), Existing::overwrite); }
  EXPECT_FALSE(fs::exists(path() + "/result.json"));
  EXPECT_FALSE(fs::exists(path() + "/checkpoints"));
  EXPECT_TRUE(fs::exists(path() + "/notes.txt"));
}

TEST_F(ResultDirectoryTest, OfARunThatWasRefusedNothingIsLeft) {
  {
    ResultDirectory refused(path(), Existing::refuse);
    refused.write("run.toml", "[train]");
    refused.write("metrics.jsonl", "");
    refused.remove_if_empty();
  }
  EXPECT_FALSE(fs::exists(path()));
  fs::create_directories(path());
  ResultDirectory begun(path(), Existing::refuse);
  begun.write("run.toml", "[train]");
  begun.write("metrics.jsonl", "{}\n");
  begun.remove_if_empty();
  EXPECT_TRUE(fs::exists(path() + "/run.toml"));
  fs::remove(path() + "/metrics.jsonl");
  begun.remove_if_empty();
  EXPECT_FALSE(fs::exists(path() + "/run.toml"));
  EXPECT_TRUE(fs::exists(path()));  // it was there before
}

TEST_F(ResultDirectoryTest, ResultsSayWhichCommandMadeThem) {
  fs::create_directories(path());
  EXPECT_EQ(command_of_results(path()), "");
  put("contestants.jsonl");
  EXPECT_EQ(command_of_results(path()), "compare");
  put("metrics.jsonl");
  EXPECT_EQ(command_of_results(path()), "train");
  std::ofstream(path() + "/result.json") << R"({"command": "analyze"})";
  EXPECT_EQ(command_of_results(path()), "analyze");
}

TEST_F(ResultDirectoryTest, OtherPeoplesFoldersAreLeftAlone) {
  fs::create_directories(path());
  put("notes.txt");
  EXPECT_EQ(kind_of([&] { ResultDirectory a(path(), Existing::overwrite); }), ErrorKind::usage);
  EXPECT_EQ(kind_of([&] { ResultDirectory a(path(), Existing::refuse); }), ErrorKind::usage);
}

TEST_F(ResultDirectoryTest, ASecondRunIsRefusedWhileTheFirstHasIt) {
  {
    ResultDirectory first(path(), Existing::refuse);
    EXPECT_EQ(kind_of([&] { ResultDirectory second(path(), Existing::resume); }), ErrorKind::write);
  }
  ResultDirectory third(path(), Existing::resume);
}

TEST_F(ResultDirectoryTest, OnlyADoneResultIsFinished) {
  EXPECT_FALSE(finished_result(path()).has_value());
  ResultDirectory directory(path(), Existing::refuse);
  directory.write("result.json", R"({"status": "interrupted"})");
  EXPECT_FALSE(finished_result(path()).has_value());
  directory.write("result.json", R"({"status": "done", "schema": 1})");
  EXPECT_TRUE(finished_result(path()).has_value());
  directory.write("result.json", R"({"status": )");
  EXPECT_FALSE(finished_result(path()).has_value());
}

TEST_F(ResultDirectoryTest, AFolderThatCannotBeMadeIsAnErrorOfWriting) {
  fs::create_directories(folder_);
  std::ofstream(folder_ / "a") << "a file";
  EXPECT_EQ(kind_of([&] { ResultDirectory a(path(), Existing::refuse); }), ErrorKind::write);
}

TEST_F(ResultDirectoryTest, NothingIsWrittenThroughALink) {
  { ResultDirectory(path(), Existing::refuse).write("result.json", "{}"); }
  std::ofstream(folder_ / "precious") << "x";
  fs::create_symlink(folder_ / "precious", path() + "/metrics.jsonl");
  EXPECT_EQ(kind_of([&] { ResultDirectory again(path(), Existing::resume); }), ErrorKind::write);
  EXPECT_EQ(kind_of([&] { refuse_links(path()); }), ErrorKind::write);
  { ResultDirectory again(path(), Existing::overwrite); }  // the link goes, what it led to stays
  EXPECT_FALSE(fs::exists(path() + "/metrics.jsonl"));
  EXPECT_TRUE(fs::exists(folder_ / "precious"));
}

TEST_F(ResultDirectoryTest, AResultOfAnotherSchemaIsRefusedByName) {
  ResultDirectory directory(path(), Existing::refuse);
  directory.write("result.json", R"({"status": "done", "schema": 0})");
  try {
    finished_result(path());
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::data);
    EXPECT_THAT(error.what(), testing::HasSubstr(path() + "/result.json: expected a result of schema 1"));
  }
  directory.write("result.json", R"({"status": 7})");
  EXPECT_FALSE(finished_result(path()).has_value());
}

TEST(CheckpointFiles, StepsAreThoseOfTheName) {
  EXPECT_EQ(step_of("t/step-000000012.safetensors"), 12);
  EXPECT_EQ(step_of("t/step-999999999999999999.safetensors"), 999999999999999999);
  for (const char* name : {"step-99999999999999999999.safetensors", "step-.safetensors",
                           "step-1x.safetensors", "step-1.safetensors.tmp-1-1", "other.safetensors"})
    EXPECT_EQ(step_of(name), -1) << name;
}

}  // namespace
}  // namespace osculant
