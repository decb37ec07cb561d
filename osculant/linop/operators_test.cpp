#include "osculant/linop/operators.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include "osculant/base/error.h"
#include "osculant/base/random.h"

#include <gtest/gtest.h>
#include <torch/types.h>

namespace osculant {
namespace {

Tensor random_matrix(int64_t m, int64_t n, uint64_t seed) {
  torch::manual_seed(seed);
  return at::randn({m, n}, at::kDouble);
}

void expect_close(const Tensor& a, const Tensor& b, double tolerance = 1e-12) {
  ASSERT_EQ(a.sizes(), b.sizes());
  EXPECT_LT((a - b).norm().item<double>(), tolerance * (1 + b.norm().item<double>()));
}

TEST(LinearOperator, CompositionsEqualTheirDenseMatrices) {
  auto A = random_matrix(6, 6, 1), B = random_matrix(6, 6, 2), C = random_matrix(4, 6, 3);
  auto a = dense_operator(A), b = dense_operator(B), c = dense_operator(C);
  auto d = at::rand({6}, at::kDouble);
  auto V = std::get<0>(at::linalg_qr(random_matrix(6, 2, 4)));
  auto l = at::rand({2}, at::kDouble);
  auto I = at::eye(6, at::kDouble);
  expect_close(to_dense(*sum(a, b)), A + B);
  expect_close(to_dense(*scale(-2.5, a)), -2.5 * A);
  expect_close(to_dense(*shift(a, 0.5)), A + 0.5 * I);
  expect_close(to_dense(*product(c, a), 4), C.mm(A));
  expect_close(to_dense(*adjoint(c)), C.t());
  expect_close(to_dense(*adjoint(product(c, a))), C.mm(A).t());
  expect_close(to_dense(*diagonal_operator(d)), at::diag(d));
  expect_close(to_dense(*low_rank_operator(V, l)), V.mm(at::diag(l)).mm(V.t()));
  auto rows = at::tensor({1, 3, 4});
  expect_close(to_dense(*restriction(a, rows)), A.index_select(0, rows).index_select(1, rows));
}

TEST(LinearOperator, CountsVectorsNotCalls) {
  auto a = dense_operator(random_matrix(5, 5, 1));
  a->apply(at::ones({5}, at::kDouble));
  a->apply(at::ones({5, 3}, at::kDouble));
  EXPECT_EQ(a->products(), 4);
}

TEST(LinearOperator, RefusesWhatDoesNotFit) {
  auto a = dense_operator(random_matrix(5, 4, 1));
  EXPECT_THROW(a->apply(at::ones({5}, at::kDouble)), Error);
  EXPECT_THROW(a->apply(at::ones({4}, at::kFloat)), Error);
  EXPECT_THROW(a->apply(at::ones({4, 1, 1}, at::kDouble)), Error);
  EXPECT_THROW(sum(a, dense_operator(random_matrix(4, 4, 1))), Error);
}

TEST(VectorSpace, InnerProductsOfFloatVectorsAreAccumulatedInDouble) {
  int64_t n = 1000003;
  torch::manual_seed(0);
  auto x = at::rand({n}), y = at::rand({n});
  VectorSpace space(n, x.options());
  double exact = at::dot(x.to(at::kDouble), y.to(at::kDouble)).item<double>();
  EXPECT_NEAR(space.dot(x, y), exact, 2e-7 * exact);
  auto X = at::rand({3, n}).t(), Y = at::rand({2, n}).t();
  auto gram = X.to(at::kDouble).t().mm(Y.to(at::kDouble));
  EXPECT_LT((space.gram(X, Y) - gram).abs().max().item<double>(), 2e-7 * gram.max().item<double>());
}

TEST(VectorSpace, SubtractsAndMultipliesInOnePassAsInTwo) {
  int64_t n = 100003;  // not a multiple of what the pass takes at once
  for (auto dtype : {at::kFloat, at::kDouble, at::kBFloat16}) {
    RandomStream random(1, "vectors");
    Tensor x = random.normal({n}, dtype), y = random.normal({n}, dtype), v = random.normal({n}, dtype);
    VectorSpace space(n, x.options());
    double tolerance = 30.0 * n * space.epsilon();  // the sums are about n
    Tensor w = at::empty_like(x), difference = at::sub(x, y, 0.3);
    double product = space.subtract_and_dot(w, x, 0.3, y, v);
    EXPECT_LE((w - difference).abs().max().item<double>(), 10 * space.epsilon());
    EXPECT_NEAR(product, at::dot(v.to(at::kDouble), w.to(at::kDouble)).item<double>(), tolerance);

    Tensor in_place = x.clone();
    double square = space.subtract_and_dot(in_place, in_place, 0.3, y, in_place);
    EXPECT_TRUE(at::equal(in_place, w));
    EXPECT_NEAR(square, w.to(at::kDouble).square().sum().item<double>(), tolerance);
  }
}

}  // namespace
}  // namespace osculant
