#include "osculant/data/fashion_mnist.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cstdlib>
#include <filesystem>

#include "osculant/base/error.h"
#include "osculant/io/atomic_file.h"

namespace osculant {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const Tensor& inputs_of(const Dataset& data) {
  return data.examples().inputs[0].tensor;
}
const Tensor& targets_of(const Dataset& data) {
  return data.examples().targets[0].tensor;
}

void check_split(Split split, int64_t examples, const Tensor& first_labels) {
  auto data = fashion_mnist(split);
  EXPECT_EQ(inputs_of(data).sizes(), at::IntArrayRef({examples, 1, 28, 28}));
  EXPECT_EQ(inputs_of(data).scalar_type(), at::kFloat);
  EXPECT_EQ(inputs_of(data).max().item<double>(), 255);
  EXPECT_EQ(inputs_of(data).min().item<double>(), 0);
  EXPECT_TRUE(targets_of(data).slice(0, 0, 4).equal(first_labels));
  EXPECT_TRUE(targets_of(data).bincount().equal(at::full({10}, examples / 10, at::kLong)));
}

TEST(FashionMnist, TrainingSplit) {
  check_split(Split::train, 60000, at::tensor({9, 0, 0, 3}, at::kLong));
}

TEST(FashionMnist, TestSplit) {
  check_split(Split::test, 10000, at::tensor({9, 2, 1, 1}, at::kLong));
}

// The published mean and deviation of the training pixels over 255: 0.2860 and 0.3530.
TEST(FashionMnist, TrainingPixelsHaveTheKnownStatistics) {
  auto statistics = fashion_mnist(Split::train).scaled(255).normalization();
  EXPECT_NEAR(statistics.mean[0].item<double>(), 0.2860, 5e-5);
  EXPECT_NEAR(statistics.deviation[0].item<double>(), 0.3530, 5e-5);
}

TEST(FashionMnist, AbsentNamesTheDebianPackageAndTheVariable) {
  try {
    fashion_mnist(Split::train, "/nowhere");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::data);
    EXPECT_THAT(e.what(), AllOf(HasSubstr("/nowhere/train-images-idx3-ubyte.gz"),
                                HasSubstr("dataset-fashion-mnist"), HasSubstr("OSCULANT_FASHION_MNIST")));
  }
}

TEST(FashionMnist, VariableNamesAFolderOfPlainFiles) {
  auto folder = testing::TempDir() + "/osculant_fashion_" + std::to_string(::getpid());
  std::filesystem::create_directories(folder);
  std::string images{"\0\0\x08\x03\0\0\0\x02\0\0\0\x01\0\0\0\x02\x01\x02\x03\x04", 20};
  std::string labels{"\0\0\x08\x01\0\0\0\x02\x07\x01", 10}, three{"\0\0\x08\x01\0\0\0\x03\x07\x01\x01", 11};
  write_file(folder + "/t10k-images-idx3-ubyte", images);
  write_file(folder + "/t10k-labels-idx1-ubyte", labels);
  ::setenv("OSCULANT_FASHION_MNIST", folder.c_str(), 1);
  auto data = fashion_mnist(Split::test);
  EXPECT_TRUE(inputs_of(data).equal(at::tensor({1.f, 2.f, 3.f, 4.f}).view({2, 1, 1, 2})));
  EXPECT_TRUE(targets_of(data).equal(at::tensor({7, 1}, at::kLong)));
  write_file(folder + "/t10k-labels-idx1-ubyte", three);
  EXPECT_THROW(fashion_mnist(Split::test), Error);
  ::unsetenv("OSCULANT_FASHION_MNIST");
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace osculant
