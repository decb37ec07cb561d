#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include "osculant/base/random.h"
#include "osculant/base/testing.h"
#include "osculant/model/zoo.h"

namespace osculant {
namespace {

// What it computes is held against Python's in tests/oracle_test.cpp.

Model small(int64_t layers = 2) {
  return transformer({.vocabulary = 7,
                      .context = 6,
                      .width = 8,
                      .layers = layers,
                      .heads = 2,
                      .initialization = {.seed = 1},
                      .dtype = at::kDouble});
}

Tensor logits(const Model& model, const Tensor& tokens) {
  return model.forward(Model::Inputs{tokens})[0];
}

TEST(Transformer, HasTheParametersOfItsParts) {
  constexpr int64_t w = 8;
  int64_t block = 2 * 2 * w + 3 * w * w + (w + 1) * w + (w + 1) * 4 * w + (4 * w + 1) * w;
  EXPECT_EQ(small(3).parameters(), 7 * w + 6 * w + 3 * block + 2 * w + (w + 1) * 7);
}

TEST(Transformer, SeesNothingOfWhatFollows) {
  auto model = small();
  Tensor tokens = RandomStream(2, "tokens").integers(7, {3, 6}), changed = tokens.clone();
  changed.select(1, 4) = (changed.select(1, 4) + 1).remainder(7);
  Tensor before = logits(model, tokens), after = logits(model, changed);
  EXPECT_EQ(before.sizes(), at::IntArrayRef({3, 7, 6}));
  EXPECT_TRUE(at::equal(before.narrow(2, 0, 4), after.narrow(2, 0, 4)));
  for (int64_t position : {4, 5})
    EXPECT_GT((before - after).select(2, position).abs().max().item<double>(), 1e-3) << position;
  Tensor start = logits(model, tokens.narrow(1, 0, 3).to(at::kInt));
  EXPECT_TRUE(at::allclose(start, before.narrow(2, 0, 3), 1e-12, 1e-13));
}

TEST(Transformer, BeginsNearTheUniformDistribution) {
  // A norm before the head: logits of variance 1/3, whose cross entropy is within some 1/6 of log K.
  auto model = transformer({.vocabulary = 80, .dtype = at::kDouble});
  RandomStream random(3, "tokens");
  Tensor z = logits(model, random.integers(80, {8, 64}));
  double loss = at::cross_entropy_loss(z, random.integers(80, {8, 64})).item<double>();
  EXPECT_NEAR(loss, std::log(80.0) + 1.0 / 6, 0.1);
}

TEST(Transformer, BadOptionsAndInputsAreNamed) {
  EXPECT_THAT(message_of([] { transformer({.width = 10, .heads = 4}); }, ErrorKind::usage),
              testing::HasSubstr("width = 10: must be a multiple of heads = 4"));
  EXPECT_THAT(message_of([] { transformer({.layers = 0}); }, ErrorKind::usage), testing::HasSubstr("layers"));
  auto refusal = [model = small()](const Tensor& tokens) {
    return message_of([&] { logits(model, tokens); });
  };
  EXPECT_THAT(refusal(at::rand({2, 6})), testing::HasSubstr("integers in [0, 7), the input is Float"));
  EXPECT_THAT(refusal(at::zeros({2, 9}, at::kLong)),
              testing::HasSubstr("[examples, positions] with 1 to 6 positions, the input has shape [2, 9]"));
  EXPECT_THAT(refusal(at::zeros({6}, at::kLong)), testing::HasSubstr("has shape [6]"));
  EXPECT_THAT(refusal(at::full({2, 6}, 7, at::kLong)), testing::HasSubstr("a token is 7: must be in [0, 7)"));
  EXPECT_THAT(refusal(at::full({2, 6}, -1, at::kLong)), testing::HasSubstr("a token is -1"));
}

}  // namespace
}  // namespace osculant
