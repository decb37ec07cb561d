#include "osculant/solve/preconditioners.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "osculant/base/error.h"
#include "osculant/linop/operators.h"
#include "osculant/solve/conjugate_gradient.h"
#include "osculant/solve/testing.h"

namespace osculant {
namespace {

using at::kDouble;
using testing::matrix_with;
using testing::random_vector;

TEST(Preconditioners, TheDiagonalPowerIsMartensFormula) {
  auto d = random_vector(12, 1).abs();
  auto dense = to_dense(*diagonal_power_preconditioner(d, 0.3));
  EXPECT_LT((dense - at::diag(1 / (d + 0.3).pow(0.75))).abs().max().item<double>(), 1e-14);
  EXPECT_THROW(diagonal_power_preconditioner(at::zeros({3}, kDouble), 0), Error);
}

TEST(Preconditioners, NystromIsThePapersFormula) {
  auto A = matrix_with(at::linspace(0, 10, 20, kDouble), 2);
  auto [values, vectors] = at::linalg_eigh(A);
  auto V = vectors.slice(1, 15), l = values.slice(0, 15);
  auto dense = to_dense(*nystrom_preconditioner(V, l, 0.1));
  auto I = at::eye(20, kDouble), VV = V.mm(V.t());
  auto expected = (l[0] + 0.1) * V.mm(at::diag(1 / (l + 0.1))).mm(V.t()) + (I - VV);
  EXPECT_LT((dense - expected).abs().max().item<double>(), 1e-13);
  // Eigenvalues of M^-1 (A + mu I): l_k + mu on the span, the others as they were.
  auto spectrum = at::linalg_eigvalsh(dense.mm(A + 0.1 * I));
  EXPECT_NEAR(spectrum.max().item<double>(), (l[0] + 0.1).item<double>(), 1e-10);
}

TEST(Preconditioners, NystromBringsConjugateGradientsToFewIterations) {
  auto spectrum = at::cat({at::logspace(2, 4, 20, 10, kDouble), at::linspace(0, 1, 180, kDouble)});
  auto A = matrix_with(spectrum, 3);
  auto b = random_vector(200, 4);
  auto [values, vectors] = at::linalg_eigh(A);
  auto M = nystrom_preconditioner(vectors.slice(1, 179), values.slice(0, 179), 0.5);
  auto op = shift(dense_operator(A, true), 0.5);
  auto plain = conjugate_gradient(*op, b);
  auto with = conjugate_gradient(*op, b, {.preconditioner = M.get()});
  ASSERT_TRUE(with.converged()) << with.message;
  EXPECT_LT(with.iterations, 25);
  EXPECT_GT(plain.iterations, 3 * with.iterations);
}

TEST(Preconditioners, RefuseWhatCannotBeMeant) {
  auto V = at::eye(5, kDouble).slice(1, 0, 2);
  EXPECT_THROW(nystrom_preconditioner(V, at::ones({3}, kDouble), 1), Error);
  EXPECT_THROW(nystrom_preconditioner(V, -at::ones({2}, kDouble), 1), Error);
  EXPECT_THROW(nystrom_preconditioner(V, at::ones({2}, kDouble), 0), Error);
}

}  // namespace
}  // namespace osculant
