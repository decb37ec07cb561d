#include "osculant/model/exported_call_checks.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <cstdint>
#include <functional>

namespace osculant::exported {
namespace {

using at::Tensor;
using testing::HasSubstr;

TEST(ExportedCallChecks, LengthsThatLibtorchTakesOnTrustAreChecked) {
  auto check = check_of("aten::_native_batch_norm_legit");
  ASSERT_NE(check, nullptr);
  EXPECT_EQ(check_of("aten::batch_norm"), nullptr);
  Tensor x = at::ones({4, 3}), three = at::ones({3}), two = at::ones({2});
  using Arguments = std::vector<c10::IValue>;
  EXPECT_EQ(check(Arguments{x, three, c10::IValue(), three, three, true, 0.1, 1e-5}), "");
  EXPECT_EQ(check(Arguments{x, c10::IValue(), c10::IValue(), true, 0.1, 1e-5}), "");
  EXPECT_THAT(check(Arguments{x, three, two, three, three, true, 0.1, 1e-5}),
              HasSubstr("argument 2 has shape [2], and its input 3 channels"));
  EXPECT_THAT(check(Arguments{three, three}), HasSubstr("at least 2"));
  EXPECT_EQ(check(Arguments{at::ones({2, 0, 3}), at::ones({0})}), "its input, of shape [2, 0, 3], is empty");
  for (bool training : {false, true}) {
    EXPECT_EQ(check(Arguments{x, three, three, three, three, training, 0.1, 1e-5}), "");
    EXPECT_EQ(check(Arguments{x, three, three, training, 0.1, 1e-5}).empty(), training);
    EXPECT_EQ(check(Arguments{x, three, three, c10::IValue(), c10::IValue(), training, 0.1, 1e-5}).empty(),
              training);
  }
}

TEST(ExportedCallChecks, PartsAreCounted) {
  auto check = check_of("aten::hsplit");
  ASSERT_NE(check, nullptr);
  Tensor empty = at::ones({0});
  EXPECT_EQ(check({empty, int64_t{4}}), "");
  EXPECT_EQ(check({empty, c10::List<int64_t>({1, 2})}), "");
  EXPECT_EQ(check({empty, int64_t{INT32_MAX}}), "asks for 2147483647 parts, at most 65536 can be");
  EXPECT_EQ(check({empty, at::scalar_tensor(70000, at::kLong)}),
            "asks for 70000 parts, at most 65536 can be");
}

// Of two layers in both directions, with and without a projection.
TEST(ExportedCallChecks, SizesOfAnLstmAreChecked) {
  auto check = check_of("aten::lstm");
  ASSERT_NE(check, nullptr);
  auto refusal = [&](int64_t projection, const std::function<void(std::vector<c10::IValue>&)>& change) {
    int64_t hidden = 5, out = projection ? projection : hidden;
    std::vector<Tensor> states{at::ones({4, 3, out}), at::ones({4, 3, hidden})}, weights;
    for (int64_t use = 0; use < 4; ++use) {
      for (int64_t in : {use < 2 ? 7 : 2 * out, out}) weights.push_back(at::ones({4 * hidden, in}));
      for (int i = 0; i < 2; ++i) weights.push_back(at::ones({4 * hidden}));
      if (projection) weights.push_back(at::ones({projection, hidden}));
    }
    std::vector<c10::IValue> call{
        at::ones({3, 6, 7}), states, weights, true, int64_t{2}, 0.0, false, true, true};
    change(call);
    return check(call);
  };
  auto state = [](size_t which, const Tensor& tensor) {
    return [=](std::vector<c10::IValue>& call) {
      auto states = call[1].toTensorVector();
      states[which] = tensor;
      call[1] = states;
    };
  };
  EXPECT_EQ(refusal(0, [](auto&) {}), "");
  EXPECT_EQ(refusal(2, [](auto&) {}), "");
  EXPECT_EQ(refusal(0, state(1, at::ones({4, 2, 5}))),
            "its second state has shape [4, 2, 5], must be [4, 3, 5]");
  EXPECT_EQ(refusal(0, state(0, at::ones({4, 2, 5}))),
            "its first state has shape [4, 2, 5], must be [4, 3, 5]");
  EXPECT_EQ(refusal(2, state(0, at::ones({4, 3, 3}))), "weight 1 has shape [20, 2], must be [20, 3]");
  EXPECT_EQ(refusal(0, [](auto& call) { call[8] = false; }),
            "its first state has shape [4, 3, 5], must be [4, 6, 5]");
  EXPECT_EQ(refusal(0, [](auto& call) { call[4] = int64_t{3}; }), "has 16 weights, must have 24 or 30");
  EXPECT_THAT(refusal(0, [](auto& call) { call[4] = INT64_MAX; }), HasSubstr("layers and 16 weights"));
}

TEST(ExportedCallChecks, SumsAndProductsThatOverflow) {
  using Arguments = std::vector<c10::IValue>;
  auto repeat = check_of("aten::repeat_interleave");
  ASSERT_NE(repeat, nullptr);
  int64_t quarter = int64_t{1} << 62;
  Tensor wraps = at::tensor({quarter, quarter, quarter, quarter + 5}), few = at::tensor({2, 0, 1}, at::kLong);
  EXPECT_EQ(repeat(Arguments{few, c10::IValue()}), "");
  EXPECT_EQ(repeat(Arguments{at::ones({3}), few, c10::IValue(), c10::IValue()}), "");
  EXPECT_EQ(repeat(Arguments{at::ones({3}), int64_t{2}, c10::IValue(), c10::IValue()}), "");
  EXPECT_THAT(repeat(Arguments{wraps, c10::IValue()}), HasSubstr("repetitions"));
  EXPECT_THAT(repeat(Arguments{at::ones({4}), wraps, c10::IValue(), c10::IValue()}),
              HasSubstr("repetitions"));

  auto norm = check_of("aten::native_group_norm");
  ASSERT_NE(norm, nullptr);
  auto sizes = [&](const Tensor& input, int64_t N, int64_t C, int64_t HxW) {
    return norm(Arguments{input, c10::IValue(), c10::IValue(), N, C, HxW, int64_t{1}, 1e-5});
  };
  EXPECT_EQ(sizes(at::ones({2, 4, 3}), 2, 4, 3), "");
  EXPECT_EQ(sizes(at::ones({2, 4, 3}), 2, 4, 4),
            "its input has shape [2, 4, 3], and is said to be 2 x 4 x 4");
  EXPECT_NE(sizes(at::ones({0}), 1, 4, quarter), "");
  EXPECT_NE(sizes(at::ones({4}), -1, -4, 1), "");
}

TEST(ExportedCallChecks, QuotientsThatNoIntegerHolds) {
  using Arguments = std::vector<c10::IValue>;
  for (const char* name : {"aten::div", "aten::div_"}) {
    auto check = check_of(name);
    ASSERT_NE(check, nullptr);
    Tensor least = at::tensor({int64_t{1}, INT64_MIN}), signs = at::tensor({int64_t{2}, int64_t{-1}});
    EXPECT_THAT(check(Arguments{least, signs, "trunc"}), HasSubstr("-9223372036854775808 by -1"));
    EXPECT_THAT(check(Arguments{least, int64_t{-1}, "trunc"}), HasSubstr("by -1"));
    EXPECT_THAT(check(Arguments{at::full({}, INT32_MIN, at::kInt), at::full({}, -1, at::kInt), "trunc"}),
                HasSubstr("-2147483648 by -1"));
    EXPECT_EQ(check(Arguments{least, signs, "floor"}), "");
    EXPECT_EQ(check(Arguments{least, signs, c10::IValue()}), "");
    EXPECT_EQ(check(Arguments{least.to(at::kDouble), signs, "trunc"}), "");
    EXPECT_EQ(check(Arguments{least, signs.abs(), "trunc"}), "");
    EXPECT_EQ(check(Arguments{least, signs}), "");
  }
}

TEST(ExportedCallChecks, PowersOfMatricesEnd) {
  auto check = check_of("aten::linalg_matrix_power");
  ASSERT_NE(check, nullptr);
  Tensor matrix = at::eye(2);
  EXPECT_EQ(check({matrix, INT64_MIN}), "asks for the power -9223372036854775808, which has no opposite");
  EXPECT_EQ(check({matrix, INT64_MIN + 1}), "");
}

}  // namespace
}  // namespace osculant::exported
