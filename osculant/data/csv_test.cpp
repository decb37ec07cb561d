#include "osculant/data/csv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <filesystem>
#include <fstream>

#include "osculant/base/testing.h"

namespace osculant {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Csv : public ::testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(path_); }
  CsvTable read(const std::string& text, const CsvOptions& options = {}) {
    std::ofstream(path_, std::ios::binary) << text;
    return load_csv(path_, options);
  }
  std::string refusal(const std::string& text, const CsvOptions& options = {}) {
    auto message = message_of([&] { read(text, options); });
    EXPECT_THAT(message, HasSubstr(path_));
    return message;
  }
  std::string path_ = testing::TempDir() + "/osculant_csv_" + std::to_string(::getpid()) + ".csv";
};

Tensor numbers(std::vector<double> values, int64_t columns) {
  return at::tensor(values, at::kDouble).view({-1, columns});
}

TEST_F(Csv, TheLastColumnIsTheTarget) {
  auto table = read("a,b,y\n1,2,3\n-4,5e-1,+6\n");
  EXPECT_THAT(table.inputs, ElementsAre("a", "b"));
  EXPECT_THAT(table.targets, ElementsAre("y"));
  EXPECT_TRUE(table.data.examples().inputs[0].tensor.equal(numbers({1, 2, -4, 0.5}, 2)));
  EXPECT_TRUE(table.data.examples().targets[0].tensor.equal(numbers({3, 6}, 1)));
}

TEST_F(Csv, AFirstLineOfNumbersIsAnExampleAndNoNames) {
  EXPECT_THAT(refusal("1,2.5,3\n4,5,6\n"), AllOf(HasSubstr(":1: all column names are numbers (1, 2.5, 3)"),
                                                 HasSubstr("must name the columns")));
  EXPECT_EQ(read("1,2,y\n4,5,6\n").inputs.size(), 2u);
}

TEST_F(Csv, OtherSeparatorsAreNamed) {
  EXPECT_THAT(refusal("a;b;y\n1;2;3\n"), HasSubstr("separated by ';', expected commas"));
  EXPECT_THAT(refusal("1;2;3\n4;5;6\n"), HasSubstr("separated by ';'"));
  EXPECT_THAT(refusal("a\tb\n1\t2\n"), HasSubstr("separated by tabs"));
}

TEST_F(Csv, TargetsAndIgnoredColumnsByName) {
  auto table = read("id,y1,a,y2\nfirst,1,2,3\nsecond,4,5,6\n", {.targets = {"y2", "y1"}, .ignore = {"id"}});
  EXPECT_THAT(table.inputs, ElementsAre("a"));
  EXPECT_TRUE(table.data.examples().inputs[0].tensor.equal(numbers({2, 5}, 1)));
  EXPECT_TRUE(table.data.examples().targets[0].tensor.equal(numbers({3, 1, 6, 4}, 2)));
}

TEST_F(Csv, ClassesAreNamesInOrder) {
  auto table = read("a,kind\n1,pear\n2,apple\n3,pear\n", {.classes = true});
  EXPECT_THAT(table.classes, ElementsAre("apple", "pear"));
  EXPECT_TRUE(table.data.examples().targets[0].tensor.equal(at::tensor({1, 0, 1}, at::kLong)));
  auto digits = read("a,kind\n1,10\n2,9\n3,2\n", {.classes = true});
  EXPECT_THAT(digits.classes, ElementsAre("2", "9", "10"));
  auto test = read("a,kind\n1,pear\n", {.classes = true, .class_names = {"apple", "pear"}});
  EXPECT_TRUE(test.data.examples().targets[0].tensor.equal(at::tensor({1}, at::kLong)));
}

TEST_F(Csv, QuotesLineEndsAndBlanksAsOthersWriteThem) {
  auto table = read("\xef\xbb\xbf\"a, \"\"or\"\" b\" ,c\r\n 1 ,\"2\"\r\n\r\n3,4");
  EXPECT_EQ(table.data.size(), 2);
  EXPECT_TRUE(table.data.examples().inputs[0].tensor.equal(numbers({1, 3}, 1)));
}

TEST_F(Csv, WhatIsWrongIsNamedWithItsLine) {
  EXPECT_THAT(refusal("a,y\n1,2\n,3\n"), AllOf(HasSubstr(":3:"), HasSubstr("\"a\" is missing")));
  EXPECT_THAT(refusal("a,y\n1,2\nNA,3\n"), AllOf(HasSubstr(":3:"), HasSubstr("\"NA\"")));
  EXPECT_THAT(refusal("a,y\n1,nan\n"), HasSubstr("finite"));
  EXPECT_THAT(refusal("a,y\n1,2,3\n"), AllOf(HasSubstr(":2:"), HasSubstr("3 fields, expected 2")));
  EXPECT_THAT(refusal("a,y\n\"1,2\n"), HasSubstr("no end"));
  EXPECT_THAT(refusal("a,y\n\"1\"2,2\n"), HasSubstr("expected a comma"));
  EXPECT_THAT(refusal("a,a\n1,2\n"), HasSubstr("two columns are named \"a\""));
  EXPECT_THAT(refusal("a,y\n1,2\n", {.targets = {"z"}}), AllOf(HasSubstr("\"z\""), HasSubstr("a, y")));
  EXPECT_THAT(refusal("y\n1\n"), HasSubstr("no column left for inputs"));
  EXPECT_THAT(refusal("a,y\n"), HasSubstr("no line after"));
  EXPECT_THAT(refusal(""), HasSubstr("empty"));
  EXPECT_THAT(refusal("a,y\n1,\n", {.classes = true}), AllOf(HasSubstr(":2:"), HasSubstr("missing")));
  EXPECT_THAT(refusal("a,y\n1,b\n\"2\n\",a\n"), HasSubstr(":2:"));
  EXPECT_THAT(refusal("a,y\n1,plum\n", {.classes = true, .class_names = {"apple"}}),
              AllOf(HasSubstr("\"plum\""), HasSubstr("apple")));
  EXPECT_THAT(message_of([] { load_csv("/nowhere/at/all.csv"); }), HasSubstr("cannot be read"));
}

// 40,000 lines of as many classes: a search through the list for each would take a minute.
TEST_F(Csv, AsManyClassesAsLines) {
  std::string text = "a,kind\n";
  for (int i = 0; i < 40000; ++i) text += fmt::format("1,c{:05}\n", i);
  auto table = read(text, {.classes = true});
  EXPECT_EQ(table.classes.size(), 40000u);
  EXPECT_TRUE(table.data.examples().targets[0].tensor.equal(at::arange(40000)));
}

TEST_F(Csv, NumbersWrittenInTwoWaysAreTwoClasses) {
  auto table = read("a,kind\n1,1\n2,1.0\n3,1\n4,1.0\n", {.classes = true});
  EXPECT_THAT(table.classes, ElementsAre("1", "1.0"));
}

TEST_F(Csv, AFolderIsNoTable) {
  EXPECT_THAT(message_of([] { load_csv(testing::TempDir(), {}); }), HasSubstr("is a folder"));
}

}  // namespace
}  // namespace osculant
