#include "osculant/data/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <functional>

#include "osculant/base/error.h"
#include "osculant/base/testing.h"

namespace osculant {
namespace {

using ::testing::HasSubstr;

std::string refusal(const Tensor& inputs, const Tensor& targets, const Tensor& weights = {}) {
  return message_of([&] { Dataset(inputs, targets, weights); }, ErrorKind::data);
}

Dataset ten_rows() {
  return Dataset(at::arange(30.0).view({10, 3}), at::arange(10));
}

const Tensor& inputs_of(const Dataset& data) {
  return data.examples().inputs[0].tensor;
}
const Tensor& targets_of(const Dataset& data) {
  return data.examples().targets[0].tensor;
}

TEST(Dataset, BatchesCoverEveryExampleOnceAndTheLastMayBeSmaller) {
  auto batches = ten_rows().batches(4);
  EXPECT_EQ(batches.examples(), 10);
  ASSERT_EQ(batches.batches(), 3);
  std::vector<Tensor> rows;
  for (int64_t i = 0; i < 3; ++i) rows.push_back(batches.batch(i).targets[0].tensor);
  EXPECT_EQ(rows[2].size(0), 2);
  EXPECT_TRUE(at::cat(rows).equal(at::arange(10)));
  EXPECT_THROW(batches.batch(3), Error);
  EXPECT_THROW(batches.batch(-1), Error);
}

TEST(Dataset, BatchSizeIsCutToTheSetAndRefusedBelowOne) {
  EXPECT_EQ(ten_rows().batches(64).batch_size(), 10);
  EXPECT_EQ(ten_rows().full().batches(), 1);
  EXPECT_EQ(ten_rows().full().with_batch_size(3).batches(), 4);
  EXPECT_THAT(message_of([] { ten_rows().batches(0); }, ErrorKind::usage), HasSubstr("batch_size = 0"));
}

TEST(Dataset, SelectsByIndex) {
  auto batch = ten_rows().full().select(at::tensor({7, 2}, at::kLong));
  EXPECT_TRUE(batch.inputs[0].tensor.equal(at::tensor({21., 22., 23., 6., 7., 8.}).view({2, 3})));
  EXPECT_TRUE(batch.targets[0].tensor.equal(at::tensor({7, 2}, at::kLong)));
}

TEST(Dataset, RefusesWhatIsNotFiniteWithItsPosition) {
  auto x = at::zeros({20, 4}), y = at::zeros({20});
  auto bad = x.clone();
  bad[17][3] = NAN;
  EXPECT_EQ(refusal(bad, y), "inputs[17, 3] = nan: must be finite");
  bad = y.clone();
  bad[5] = -INFINITY;
  EXPECT_EQ(refusal(x, bad), "targets[5] = -inf: must be finite");
  Batch named{{{"image", x}, {"depth", x.clone()}}, {{"", y}}, {}};
  named.inputs[1].tensor[0][2] = INFINITY;
  EXPECT_THAT(message_of([&] { Dataset{named}; }, ErrorKind::data), HasSubstr("inputs.depth[0, 2] = inf"));
}

TEST(Dataset, RefusesEmptyAndMismatchedData) {
  EXPECT_THAT(refusal(at::zeros({0, 3}), at::zeros({0})), HasSubstr("the data set is empty"));
  EXPECT_THAT(refusal(at::zeros({4, 3}), at::zeros({5})), HasSubstr("inputs has 4 examples, targets has 5"));
  EXPECT_THAT(refusal(at::zeros({4, 0}), at::zeros({4})), HasSubstr("[4, 0]"));
  EXPECT_THAT(refusal(at::scalar_tensor(1), at::zeros({1})), HasSubstr("no dimensions"));
  EXPECT_THAT(refusal({}, at::zeros({1})), HasSubstr("undefined"));
  EXPECT_THAT(message_of([] { Dataset{Batch{}}; }, ErrorKind::data), HasSubstr("inputs"));
  auto x = at::zeros({2, 1});
  EXPECT_THAT(message_of(
                  [&] {
                    Dataset{Batch{{{"a", x}, {"a", x}}, {}, {}}};
                  },
                  ErrorKind::data),
              HasSubstr("inputs.a: is given twice"));
}

TEST(Dataset, RefusesWeightsThatAreNone) {
  auto x = at::zeros({3, 1}), y = at::zeros({3});
  EXPECT_THAT(refusal(x, y, at::ones({3, 1})), HasSubstr("weights has shape [3, 1]: must be [3]"));
  EXPECT_THAT(refusal(x, y, at::tensor({1.0, -2.0, 1.0})), HasSubstr("weights[1] = -2"));
  EXPECT_THAT(refusal(x, y, at::zeros({3})), HasSubstr("all are 0"));
  EXPECT_EQ(Dataset(x, y, at::ones({3})).take(2).examples().weights.size(0), 2);
}

TEST(Dataset, TakeAndSplit) {
  EXPECT_TRUE(targets_of(ten_rows().take(3)).equal(at::arange(3)));
  auto [first, second] = ten_rows().split(0.7);
  EXPECT_TRUE(targets_of(first).equal(at::arange(7)));
  EXPECT_TRUE(targets_of(second).equal(at::arange(7, 10)));
  EXPECT_THAT(message_of([] { ten_rows().take(11); }, ErrorKind::usage), HasSubstr("take = 11"));
  EXPECT_THAT(message_of([] { ten_rows().split(0.01); }, ErrorKind::usage),
              HasSubstr("leaves one part empty"));
  EXPECT_THROW(ten_rows().split(-0.5), Error);
}

TEST(Dataset, ShuffleIsAPermutationThatKeepsExamplesTogether) {
  auto data = ten_rows().shuffled(4);
  auto order = targets_of(data);
  EXPECT_FALSE(order.equal(at::arange(10)));
  EXPECT_TRUE(std::get<0>(order.sort()).equal(at::arange(10)));
  EXPECT_TRUE(inputs_of(data).select(1, 0).equal(3.0f * order.to(at::kFloat)));
  EXPECT_TRUE(targets_of(ten_rows().shuffled(4)).equal(order));
  EXPECT_FALSE(targets_of(ten_rows().shuffled(5)).equal(order));
}

TEST(Dataset, ScalesQuantitiesAndLeavesIndices) {
  auto bytes = at::full({2, 3}, 51, at::kByte);
  EXPECT_TRUE(inputs_of(Dataset(bytes, {}).scaled(255)).allclose(at::full({2, 3}, 0.2)));
  Batch mixed{{{"x", at::ones({2, 2})}, {"token", at::ones({2}, at::kLong)}}, {}, {}};
  auto scaled = Dataset(mixed).scaled(4).examples();
  EXPECT_EQ(scaled.inputs[0].tensor[1][1].item<double>(), 0.25);
  EXPECT_EQ(scaled.inputs[1].tensor[1].item<int64_t>(), 1);
  EXPECT_THROW(ten_rows().scaled(0), Error);
  EXPECT_THAT(message_of([] { Dataset(at::ones({2}, at::kLong), {}).scaled(2); }, ErrorKind::usage),
              HasSubstr("scale"));
}

TEST(Dataset, NormalizesByItsOwnOrAnothersStatistics) {
  auto x = at::randn({50, 4}, at::kDouble) * at::tensor({1.0, 10.0, 0.1, 0.0}, at::kDouble) + 3;
  Dataset data(x, {});
  auto whole = inputs_of(data.normalized());
  EXPECT_NEAR(whole.mean().item<double>(), 0, 1e-14);
  EXPECT_NEAR(whole.square().mean().item<double>(), 1, 1e-14);
  auto features = inputs_of(data.normalized(data.normalization(Statistics::per_feature)));
  EXPECT_LT(features.mean(0).abs().max().item<double>(), 1e-12);
  EXPECT_TRUE(features.square().mean(0).allclose(at::tensor({1.0, 1.0, 1.0, 0.0}, at::kDouble)));
  auto other = inputs_of(Dataset(x + 1, {}).normalized(data.normalization()));
  double deviation = data.normalization().deviation[0].item<double>();
  EXPECT_NEAR(other.mean().item<double>(), 1 / deviation, 1e-14);
}

TEST(Dataset, AveragePoolsImages) {
  auto images = at::arange(16.0).view({1, 4, 4});
  auto expected = at::tensor({2.5, 4.5, 10.5, 12.5});
  EXPECT_TRUE(
      inputs_of(Dataset(images, {}).average_pooled(2)).equal(expected.view({1, 2, 2}).to(at::kFloat)));
  EXPECT_EQ(inputs_of(Dataset(at::ones({3, 2, 6, 9}), {}).average_pooled(3)).sizes(),
            at::IntArrayRef({3, 2, 2, 3}));
  EXPECT_THAT(message_of([&] { Dataset(images, {}).average_pooled(3); }, ErrorKind::usage),
              HasSubstr("average_pool = 3: must divide"));
  EXPECT_THROW(ten_rows().average_pooled(2), Error);
}

TEST(Dataset, FlattensAndAutoencodes) {
  auto data = Dataset(at::rand({5, 1, 2, 3}), at::arange(5)).flattened().autoencoding();
  EXPECT_EQ(inputs_of(data).sizes(), at::IntArrayRef({5, 6}));
  EXPECT_TRUE(targets_of(data).equal(inputs_of(data)));
}

TEST(Dataset, CastsFloatingPointAndRefusesOverflow) {
  auto data = ten_rows().to(at::kCPU, at::kDouble);
  EXPECT_EQ(inputs_of(data).scalar_type(), at::kDouble);
  EXPECT_EQ(targets_of(data).scalar_type(), at::kLong);
  auto large = Dataset(at::full({2, 1}, 1e300, at::kDouble), {});
  EXPECT_THAT(message_of([&] { large.to(at::kCPU, at::kFloat); }, ErrorKind::data),
              HasSubstr("inputs[0, 0] = inf"));
}

}  // namespace
}  // namespace osculant
