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

TEST(ExportedCallChecks, PowersOfMatricesEnd) {
  auto check = check_of("aten::linalg_matrix_power");
  ASSERT_NE(check, nullptr);
  Tensor matrix = at::eye(2);
  EXPECT_EQ(check({matrix, INT64_MIN}), "asks for the power -9223372036854775808, which has no opposite");
  EXPECT_EQ(check({matrix, INT64_MIN + 1}), "");
}

}  // namespace
}  // namespace osculant::exported
