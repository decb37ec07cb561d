#include "osculant/data/safetensors_dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/jit/serialization/pickle.h>
#include <torch/types.h>

#include <filesystem>
#include <fstream>

#include "osculant/base/error.h"
#include "osculant/base/testing.h"
#include "osculant/io/safetensors.h"

namespace osculant {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class SafetensorsDatasetTest : public ::testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(path_); }
  std::string refusal(const std::vector<NamedTensor>& tensors) {
    save_safetensors(path_, tensors);
    auto message = message_of([&] { load_dataset(path_); });
    EXPECT_THAT(message, HasSubstr(path_));
    return message;
  }
  std::string path_ = testing::TempDir() + "/osculant_dataset_" + std::to_string(::getpid());
};

TEST_F(SafetensorsDatasetTest, ReadsInputsTargetsAndWeights) {
  auto x = at::randn({6, 2}), w = at::rand({6});
  auto y = at::arange(6).to(at::kByte);
  save_safetensors(path_, {{"inputs", x}, {"targets", y}, {"weights", w}});
  auto batch = load_dataset(path_).examples();
  EXPECT_TRUE(batch.inputs[0].tensor.equal(x));
  EXPECT_EQ(batch.inputs[0].name, "");
  EXPECT_TRUE(batch.targets[0].tensor.equal(y));
  EXPECT_TRUE(batch.weights.equal(w));
}

TEST_F(SafetensorsDatasetTest, NamedOnesComeInTheOrderOfTheirNamesAndGoBack) {
  Batch batch{
      {{"a", at::rand({3, 2})}, {"b", at::arange(3)}}, {{"p.q", at::rand({3})}, {"r", at::rand({3})}}, {}};
  save_dataset(path_, Dataset(batch));
  auto back = load_dataset(path_).examples();
  ASSERT_EQ(back.inputs.size(), 2u);
  ASSERT_EQ(back.targets.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(back.inputs[i].name, batch.inputs[i].name);
    EXPECT_TRUE(back.inputs[i].tensor.equal(batch.inputs[i].tensor));
    EXPECT_EQ(back.targets[i].name, batch.targets[i].name);
    EXPECT_TRUE(back.targets[i].tensor.equal(batch.targets[i].tensor));
  }
  EXPECT_FALSE(back.weights.defined());
}

TEST_F(SafetensorsDatasetTest, WideUnsignedLabelsBecomeInt64) {
  save_safetensors(path_, {{"inputs", at::rand({2, 1})}, {"targets", at::tensor({3, 9}).to(at::kUInt16)}});
  EXPECT_TRUE(load_dataset(path_).examples().targets[0].tensor.equal(at::tensor({3, 9}, at::kLong)));
}

TEST_F(SafetensorsDatasetTest, SaysWhichNamesAreThere) {
  auto x = at::rand({2, 1});
  EXPECT_THAT(refusal({{"images", x}, {"labels", x}}),
              AllOf(HasSubstr("has no \"inputs\""), HasSubstr("images, labels")));
  EXPECT_THAT(refusal({}), HasSubstr("There: nothing"));
  EXPECT_THAT(refusal({{"inputs", x}, {"target", x}}), HasSubstr("has \"target\""));
  EXPECT_THAT(refusal({{"inputs", x}, {"inputs.a", x}}), HasSubstr("both \"inputs\" and \"inputs.a\""));
  EXPECT_THAT(refusal({{"inputs.", x}}), HasSubstr("has no \"inputs\""));
}

TEST_F(SafetensorsDatasetTest, NamesTheFileWhenItsExamplesAreWrong) {
  auto x = at::zeros({4, 2});
  EXPECT_THAT(refusal({{"inputs", x}, {"targets", at::zeros({5})}}),
              HasSubstr("inputs has 4 examples, targets has 5"));
  x[3][1] = NAN;
  EXPECT_THAT(refusal({{"inputs", x}}), HasSubstr("inputs[3, 1] = nan"));
}

TEST_F(SafetensorsDatasetTest, ReadsADictThatTorchSaved) {
  auto x = at::randn({6, 2}), w = at::rand({6});
  auto y = at::arange(6);
  auto save = [&](const c10::IValue& value) {
    auto bytes = torch::jit::pickle_save(value);
    std::ofstream(path_, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  };
  c10::Dict<std::string, Tensor> dict;
  dict.insert("inputs", x);
  dict.insert("targets", y);
  dict.insert("weights", w);
  save(dict);
  auto batch = load_dataset(path_).examples();
  EXPECT_TRUE(batch.inputs[0].tensor.equal(x));
  EXPECT_TRUE(batch.targets[0].tensor.equal(y));
  EXPECT_TRUE(batch.weights.equal(w));
  save(x);
  EXPECT_THAT(message_of([&] { load_dataset(path_); }),
              AllOf(HasSubstr(path_), HasSubstr("dict of tensors")));
  c10::Dict<std::string, int64_t> counts;
  counts.insert("inputs", 3);
  save(counts);
  EXPECT_THAT(message_of([&] { load_dataset(path_); }), HasSubstr("expected a tensor"));
  std::ofstream(path_, std::ios::binary) << "PK but not much else";
  EXPECT_THAT(message_of([&] { load_dataset(path_); }), AllOf(HasSubstr(path_), HasSubstr("torch.save")));
}

}  // namespace
}  // namespace osculant
