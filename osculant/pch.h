// Precompiled into every source and test: libtorch's headers cost 6 s a file without it. Only what nearly all
// use: what a header leaves to instantiate is paid for by each file again (torch/torch.h 5 s,
// torch/autograd.h 2 s, this 1.5 s).
#pragma once
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <nlohmann/json.hpp>

#if __has_include(<gmock/gmock.h>)
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#endif
