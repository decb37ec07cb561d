#include "osculant/optim/damping.h"

#include <gtest/gtest.h>

#include <limits>

#include "osculant/base/testing.h"
#include "osculant/io/archive.h"

namespace osculant {
namespace {

TEST(Damping, follows_martens) {
  Damping damping({.initial = 3});
  damping.update(0.2);
  EXPECT_DOUBLE_EQ(damping.value(), 4.5);
  damping.update(0.5);
  EXPECT_DOUBLE_EQ(damping.value(), 4.5);
  damping.update(0.9);
  EXPECT_DOUBLE_EQ(damping.value(), 3);
  damping.update(std::numeric_limits<double>::quiet_NaN());
  EXPECT_DOUBLE_EQ(damping.value(), 4.5);
}

TEST(Damping, follows_nielsen) {
  Damping damping({.rule = DampingRule::nielsen, .initial = 9});
  damping.update(1);  // max(1/3, 1 - 1)
  EXPECT_DOUBLE_EQ(damping.value(), 3);
  damping.update(0.5);  // 1 - 0
  EXPECT_DOUBLE_EQ(damping.value(), 3);
  damping.update(0.25);  // 1 + 1/8
  EXPECT_DOUBLE_EQ(damping.value(), 3.375);
  damping.update(-1);
  damping.update(-1);
  damping.update(-1);  // 2, 4, 8
  EXPECT_DOUBLE_EQ(damping.value(), 3.375 * 64);
  damping.update(0.5);
  damping.update(-1);  // nu begins at 2 again
  EXPECT_DOUBLE_EQ(damping.value(), 3.375 * 128);
}

TEST(Damping, changes_every_interval_under_omega) {
  Damping damping({.rule = DampingRule::omega, .initial = 1, .interval = 2});
  damping.update(0.9);
  EXPECT_DOUBLE_EQ(damping.value(), 1);
  damping.update(0.9);
  EXPECT_DOUBLE_EQ(damping.value(), 0.95 * 0.95);
}

TEST(Damping, stays_within_its_limits) {
  Damping damping({.initial = 1, .minimum = 0.9, .maximum = 1.2});
  damping.update(1);
  EXPECT_DOUBLE_EQ(damping.value(), 0.9);
  damping.update(0);
  EXPECT_DOUBLE_EQ(damping.value(), 1.2);
}

TEST(Damping, has_a_floor_that_halves_of_the_batch_move) {
  Damping damping({.initial = 1, .noise_interval = 10, .agreement = 0.5, .noise_factor = 2});
  EXPECT_FALSE(damping.noise_check_due(9));
  EXPECT_TRUE(damping.noise_check_due(20));
  damping.noise_checked(0.1);
  EXPECT_DOUBLE_EQ(damping.floor(), 2);
  EXPECT_DOUBLE_EQ(damping.value(), 2);
  damping.update(1);
  EXPECT_DOUBLE_EQ(damping.value(), 2) << "the floor holds against a flattering rho";
  damping.noise_checked(0.9);
  EXPECT_DOUBLE_EQ(damping.floor(), 1);
  damping.update(1);
  EXPECT_DOUBLE_EQ(damping.value(), 2 / 1.5);
}

TEST(Damping, goes_on_where_it_was_saved) {
  DampingOptions options{.rule = DampingRule::nielsen, .initial = 1, .noise_interval = 1};
  Damping a(options), b(options);
  a.update(-1);
  a.update(-1);
  a.noise_checked(0);
  Archive archive("test", 1);
  a.save(archive);
  b.load(archive);
  for (double rho : {-1.0, 0.3, 1.0, -1.0}) {
    a.update(rho);
    b.update(rho);
    EXPECT_EQ(a.value(), b.value());
  }
}

TEST(Damping, refuses_what_cannot_be_meant) {
  auto message = [](DampingOptions options) {
    return message_of([&] { Damping damping(options); }, ErrorKind::usage);
  };
  EXPECT_EQ(message({.initial = -1}), "damping = -1: must be >= 0");
  EXPECT_EQ(message({.low = 0.5, .high = 0.25}), "damping high = 0.25: must be between 0.5 and 1");
}

}  // namespace
}  // namespace osculant
