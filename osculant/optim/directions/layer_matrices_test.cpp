#include "osculant/optim/directions/layer_matrices.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include "osculant/optim/testing.h"

namespace osculant {
namespace {

ParameterLayout layout_of(const std::vector<std::vector<int64_t>>& shapes) {
  std::vector<NamedTensor> leaves;
  for (const auto& shape : shapes)
    leaves.push_back({"p" + std::to_string(leaves.size()), torch::zeros(shape, testing::f64())});
  return ParameterLayout(leaves);
}

bool two_dimensional(const Parameter& p, int64_t, int64_t) {
  return p.shape.size() > 1;
}

TEST(LayerMatrices, gather_equal_shapes_and_put_them_back) {
  // The matrices [2, 3] lie at even distances in the first layout, not in the second.
  for (const auto& shapes :
       {std::vector<std::vector<int64_t>>{{2, 3}, {2}, {2, 3}, {2}, {2, 3}, {4, 1, 2, 2}},
        {{2, 3}, {2}, {2, 3}, {2, 3}, {}, {4, 1, 2, 2}}}) {
    auto layout = layout_of(shapes);
    Tensor flat = testing::normal({layout.size()}, 1);
    LayerMatrices layers(layout, two_dimensional);
    ASSERT_EQ(layers.groups().size(), 2);
    const auto &three = layers.groups()[0], &kernel = layers.groups()[1];
    EXPECT_EQ(three.count(), 3);
    EXPECT_EQ(kernel.rows(), 4);
    EXPECT_EQ(kernel.columns(), 4);
    auto parts = layout.unflatten(flat);
    std::vector<Tensor> matrices, rest;
    for (const auto& part : parts) {
      if (part.dim() == 2) matrices.push_back(part);
      if (part.dim() < 2) rest.push_back(part.flatten());
    }
    EXPECT_TRUE(three.of(flat).equal(at::stack(matrices)));
    EXPECT_TRUE(kernel.of(flat).equal(parts.back().view({1, 4, 4})));
    EXPECT_TRUE(layers.rest_of(flat).equal(at::cat(rest)));
    EXPECT_EQ(layers.rest(), at::cat(rest).numel());

    Tensor copy = at::zeros_like(flat);
    three.put(copy, three.of(flat));
    kernel.put(copy, kernel.of(flat));
    layers.put_rest(copy, layers.rest_of(flat));
    EXPECT_TRUE(copy.equal(flat));
  }
}

TEST(LayerMatrices, take_vectors_as_matrices_of_one_column_where_chosen) {
  auto layout = layout_of({{3}, {3, 1}, {2, 2}});
  LayerMatrices layers(layout, [](const Parameter&, int64_t rows, int64_t) { return rows == 3; });
  ASSERT_EQ(layers.groups().size(), 1);
  Tensor flat = at::arange(10, testing::f64());
  EXPECT_TRUE(layers.groups()[0].of(flat).equal(flat.narrow(0, 0, 6).view({2, 3, 1})));
  EXPECT_TRUE(layers.rest_of(flat).equal(flat.narrow(0, 6, 4)));
}

}  // namespace
}  // namespace osculant
