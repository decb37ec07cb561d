#include "osculant/base/random.h"

#include <gtest/gtest.h>
#include <torch/types.h>

namespace osculant {
namespace {

TEST(RandomStream, SameSeedAndNameGiveTheSameBitsOthersDoNot) {
  auto draw = [](uint64_t seed, const char* name) { return RandomStream(seed, name).normal({100}); };
  EXPECT_TRUE(draw(3, "probe").equal(draw(3, "probe")));
  EXPECT_FALSE(draw(3, "probe").equal(draw(4, "probe")));
  EXPECT_FALSE(draw(3, "probe").equal(draw(3, "order")));
}

TEST(RandomStream, RestoredStateGoesOnToTheSameBits) {
  RandomStream stream(1, "a");
  stream.normal({17});
  auto state = stream.state().clone();
  auto expected = stream.permutation(50);
  stream.set_state(state);
  EXPECT_TRUE(stream.permutation(50).equal(expected));
}

TEST(RandomStream, RademacherIsPlusOrMinusOneWithMeanZero) {
  auto x = RandomStream(0, "r").rademacher({100000}, at::kDouble);
  EXPECT_TRUE(x.abs().eq(1).all().item<bool>());
  EXPECT_LT(std::abs(x.mean().item<double>()), 5 / std::sqrt(100000.0));  // five standard errors
}

}  // namespace
}  // namespace osculant
