#pragma once

#include <gtest/gtest.h>

#include <string>

#include "osculant/base/error.h"

namespace osculant {

// The message of the Error that f throws; a test failure when it throws none, or one of another kind.
template <class Function>
std::string message_of(Function f, ErrorKind kind = ErrorKind::data) {
  try {
    f();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind);
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

}  // namespace osculant
