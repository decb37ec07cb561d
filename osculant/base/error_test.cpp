#include "osculant/base/error.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

namespace osculant {
namespace {

TEST(Error, NamesFieldValueAndConstraint) {
  try {
    require_non_negative("damping", -1);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "damping = -1: must be >= 0");
    EXPECT_EQ(error.kind(), ErrorKind::usage);
  }
}

TEST(Error, ChecksRefuseNaNAndAcceptTheirBounds) {
  EXPECT_THROW(require_positive("x", std::nan("")), Error);
  EXPECT_THROW(require_between("x", std::nan(""), 0, 1), Error);
  EXPECT_THROW(require_positive("x", 0), Error);
  EXPECT_NO_THROW(require_non_negative("x", 0));
  EXPECT_NO_THROW(require_between("x", 1, 0, 1));
  EXPECT_NO_THROW(require_at_least("x", 2, 2));
}

}  // namespace
}  // namespace osculant
