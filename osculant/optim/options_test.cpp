#include "osculant/optim/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "osculant/base/error.h"
#include "osculant/optim/methods.h"

namespace osculant {
namespace {

using ::testing::HasSubstr;

std::string refusal(const std::string& method, const OptionMap& options) {
  try {
    make_method(method, options);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    return error.what();
  }
  return "";
}

TEST(MethodTable, makes_every_method_from_its_own_defaults) {
  std::set<std::string> names;
  for (const auto& info : method_table()) {
    EXPECT_TRUE(names.insert(info.name).second) << info.name << " twice";
    OptionMap defaults;
    for (const auto& option : info.options) defaults[option.name] = option.default_value;
    EXPECT_EQ(info.make(defaults).name(), info.name);
    EXPECT_FALSE(info.summary.empty());
    EXPECT_FALSE(info.citation.empty());
  }
}

TEST(MethodTable, computes_memory_and_cost) {
  ProblemSize size{.parameters = 1000, .examples = 400, .batch_size = 100, .bytes_per_number = 8};
  EXPECT_EQ(find_method("adam").memory.value(size), 3 * 1000 * 8);
  EXPECT_DOUBLE_EQ(find_method("adam").cost.value(size), 0.25);
  size.parameters = 10;  // dense: a gradient graph and ten Hessian products
  EXPECT_DOUBLE_EQ(find_method("inverse_correction").cost.value(size),
                   0.25 * (1 + 0.7 + 3 * 1.2 + 1.0 / 3 + 10 * 1.2));
  EXPECT_DOUBLE_EQ(find_method("inverse_correction").memory.value(size), 100 * 32);
}

TEST(MethodTable, names_the_nearest) {
  EXPECT_THAT(refusal("hesian_free", {}), HasSubstr("did you mean hessian_free?"));
  EXPECT_THAT(refusal("adam", {{"learning_rat", 0.1}}), HasSubstr("did you mean learning_rate?"));
  EXPECT_THAT(refusal("adam", {{"learning_rat", 0.1}}), HasSubstr("adam"));
}

TEST(MethodTable, refuses_values_that_cannot_be_meant) {
  EXPECT_EQ(refusal("adam", {{"learning_rate", -1.0}}), "learning_rate = -1: must be > 0");
  EXPECT_EQ(refusal("adam", {{"amsgrad", 1.0}}), "amsgrad = 1: must be true or false");
  EXPECT_EQ(refusal("adam", {{"learning_rate", std::string("fast")}}),
            "learning_rate = \"fast\": must be a number");
  EXPECT_EQ(refusal("lbfgs", {{"memory", 2.5}}), "memory = 2.5: must be a whole number");
  EXPECT_EQ(refusal("inverse_correction", {{"curvature", std::string("abs")}}),
            "curvature = \"abs\": must be one of signed, absolute, positive");
  EXPECT_EQ(refusal("inverse_correction", {{"rank", std::string("half")}}),
            "rank = \"half\": must be a whole number or auto or full");
  EXPECT_EQ(refusal("momentum", {{"momentum", 1.5}}), "momentum = 1.5: must be between 0 and 1");
}

TEST(OptionReader, sets_fields_from_numbers_words_and_text) {
  bool flag = false;
  double number = 1;
  int64_t count = 2;
  OptionReader reader(
      "test",
      {{"flag", std::string("true")}, {"number", std::string("3e-3")}, {"count", std::string("all")}});
  reader.flag("flag", flag, "");
  reader.number("number", number, "", "");
  reader.integer("count", count, "", "", {{"all", -1}});
  reader.require_all_read();
  EXPECT_TRUE(flag);
  EXPECT_EQ(number, 3e-3);
  EXPECT_EQ(count, -1);
}

}  // namespace
}  // namespace osculant
