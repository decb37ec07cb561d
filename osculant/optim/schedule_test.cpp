#include "osculant/optim/schedule.h"

#include <gtest/gtest.h>

#include "osculant/base/testing.h"

namespace osculant {
namespace {

TEST(Schedule, warms_up_and_comes_down) {
  Schedule cosine{.shape = ScheduleShape::cosine, .warmup = 4, .length = 24, .final = 0.1};
  EXPECT_DOUBLE_EQ(cosine.at(1), 0.25);
  EXPECT_DOUBLE_EQ(cosine.at(4), 1);
  EXPECT_DOUBLE_EQ(cosine.at(5), 1);
  EXPECT_DOUBLE_EQ(cosine.at(15), 0.55);  // half way: the mean of 1 and 0.1
  EXPECT_DOUBLE_EQ(cosine.at(25), 0.1);
  EXPECT_DOUBLE_EQ(cosine.at(1000), 0.1);
  for (int64_t t = 5; t < 25; ++t) EXPECT_GT(cosine.at(t), cosine.at(t + 1));

  Schedule linear{.shape = ScheduleShape::linear, .length = 10};
  EXPECT_DOUBLE_EQ(linear.at(1), 1);
  EXPECT_DOUBLE_EQ(linear.at(6), 0.5);
  EXPECT_DOUBLE_EQ(linear.at(11), 0);
}

TEST(Schedule, falls_by_steps) {
  Schedule step{.shape = ScheduleShape::step, .every = 3, .factor = 0.5};
  EXPECT_DOUBLE_EQ(step.at(3), 1);
  EXPECT_DOUBLE_EQ(step.at(4), 0.5);
  EXPECT_DOUBLE_EQ(step.at(7), 0.25);
}

TEST(Schedule, is_refused_without_what_it_needs) {
  EXPECT_EQ(message_of([] { Schedule{.shape = ScheduleShape::cosine}.check(); }, ErrorKind::usage),
            "schedule length = 0: must be >= 1");
  EXPECT_EQ(message_of([] { Schedule{.shape = ScheduleShape::step}.check(); }, ErrorKind::usage),
            "schedule every = 0: must be >= 1");
}

}  // namespace
}  // namespace osculant
