#include "osculant/base/memory.h"

#include <gtest/gtest.h>
#include <torch/types.h>

namespace osculant {
namespace {

TEST(MemoryMeter, CountsWhatIsKeptAndTheMostHeldAtOnce) {
  MemoryMeter meter;
  auto kept = at::empty({1000}, at::kDouble);
  { auto passing = at::empty({5000}, at::kDouble); }
  EXPECT_EQ(meter.current(), 8000);
  EXPECT_EQ(meter.peak(), 48000);
  kept.reset();
  EXPECT_EQ(meter.current(), 0);
}

TEST(MemoryMeter, InnerMetersFeedOuterOnes) {
  MemoryMeter outer;
  at::Tensor kept;
  {
    MemoryMeter inner;
    kept = at::empty({256}, at::kFloat);
    EXPECT_EQ(inner.current(), 1024);
  }
  EXPECT_EQ(outer.current(), 1024);
}

TEST(Memory, AvailableMemoryIsLessThanTheMachineHas) {
  int64_t available = available_memory();
  EXPECT_GT(available, int64_t{64} << 20);
  EXPECT_LT(available, int64_t{1} << 50);
  EXPECT_GT(peak_resident_memory(), int64_t{1} << 20);
}

}  // namespace
}  // namespace osculant
