#include "osculant/optim/directions/matrix_statistics.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "osculant/optim/testing.h"

namespace osculant {
namespace {

using testing::normal;

TEST(MatrixStatistics, add_products_by_panels) {
  for (int64_t count : {1, 3}) {
    for (int64_t d : {1, 5, 300, 530}) {
      Tensor S = normal({count, d, d}, 81), X = normal({count, 4, d}, 82);
      S = S + S.mT();
      Tensor expected = 0.9 * S + 0.2 * X.mT().matmul(X);
      add_gram(S, X, 0.9, 0.2);
      EXPECT_LT(testing::relative_difference(symmetric_from_lower(S), expected), 1e-14) << d;
    }
  }
}

TEST(MatrixStatistics, say_when_there_are_no_eigenpairs) {
  Tensor S = normal({2, 4, 4}, 83);
  S = S + S.mT();
  auto found = symmetric_eigenpairs(S);
  ASSERT_TRUE(found);
  EXPECT_LT(
      testing::relative_difference(found->vectors * found->values.unsqueeze(1), S.matmul(found->vectors)),
      1e-13);
  S[1][2][1] = std::nan("");
  EXPECT_FALSE(symmetric_eigenpairs(S));
}

}  // namespace
}  // namespace osculant
