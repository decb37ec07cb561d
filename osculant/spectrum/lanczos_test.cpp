#include "osculant/spectrum/lanczos.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "osculant/spectrum/testing.h"

namespace osculant {
namespace {

using testing::largest;

Tensor in_double(const Tensor& x) {
  return x.to(at::kDouble);
}

struct Case {
  at::ScalarType dtype;
  bool full;
};

class LanczosRecurrence : public ::testing::TestWithParam<Case> {};

// V'V = I to the limit, T = V'A V, and A V - V T lies in the next vector up to what reorthogonalisation
// removed.
void expect_recurrence(const LinearOperator& A, const Lanczos& lanczos, double orthogonality, double scale) {
  Tensor V = in_double(lanczos.basis());
  int64_t m = lanczos.size();
  double u = A.domain().epsilon();
  EXPECT_LT(largest(V.t().mm(V) - at::eye(m, at::kDouble)), 10 * orthogonality);
  Tensor AV = in_double(A.apply(lanczos.basis()));
  Tensor R = AV - V.mm(lanczos.projected());
  EXPECT_LT(largest(R.narrow(1, 0, m - 1).norm(2, {0})), (10 * orthogonality + 100 * u) * scale);
  EXPECT_NEAR(R.select(1, m - 1).norm().item<double>(), lanczos.next_norm(),
              (10 * orthogonality + 100 * u) * scale);
}

// T V alone is off by what reorthogonalisation removes, about sqrt(u).
TEST_P(LanczosRecurrence, KnowsTheProductsOfItsBasisToRounding) {
  auto [dtype, full] = GetParam();
  for (auto& spectrum : testing::spectra(600)) {
    SCOPED_TRACE(spectrum.name);
    auto A = testing::rotated_diagonal(spectrum.eigenvalues, 1, dtype);
    RandomStream random(2, "start");
    Lanczos lanczos(*A, {60, std::sqrt(A->domain().epsilon()), full}, random);
    lanczos.start();
    while (!lanczos.full()) lanczos.extend();
    Tensor S = std::get<0>(at::linalg_qr(random.normal({60, 5}, at::kDouble)));
    Tensor error = in_double(A->apply(lanczos.combine(S)) - lanczos.known_product(S));
    EXPECT_LT(error.norm().item<double>(), 30 * A->domain().epsilon() * largest(spectrum.eigenvalues));
  }
}

TEST_P(LanczosRecurrence, HoldsForEverySpectrumAndThroughRestarts) {
  auto [dtype, full] = GetParam();
  for (auto& spectrum : testing::spectra(600)) {
    SCOPED_TRACE(spectrum.name);
    auto A = testing::rotated_diagonal(spectrum.eigenvalues, 1, dtype);
    double scale = largest(spectrum.eigenvalues);
    double orthogonality = std::sqrt(A->domain().epsilon());
    RandomStream random(2, "start");
    Lanczos lanczos(*A, {40, orthogonality, full}, random);
    ASSERT_TRUE(lanczos.start());
    for (int cycle = 0; cycle < 4; ++cycle) {
      while (!lanczos.full()) ASSERT_TRUE(lanczos.extend());
      expect_recurrence(*A, lanczos, orthogonality, scale);
      auto [values, S] = at::linalg_eigh(lanczos.projected());
      lanczos.restart(S.narrow(1, 28, 12), values.narrow(0, 28, 12).contiguous());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Dtypes, LanczosRecurrence,
                         ::testing::Values(Case{at::kDouble, false}, Case{at::kDouble, true},
                                           Case{at::kFloat, false}, Case{at::kFloat, true}));

TEST(Lanczos, ProjectedMatrixIsExactWhilePartialReorthogonalisationReadsFewVectors) {
  // Simon (1984): with orthogonality kept to sqrt(u), T is V'A V to u, at a fraction of the passes.
  auto spectrum = testing::spectra(2000)[2].eigenvalues;
  auto A = testing::rotated_diagonal(spectrum, 3);
  double orthogonality = std::sqrt(A->domain().epsilon());
  RandomStream random(4, "start");
  Lanczos partial(*A, {120, orthogonality, false}, random), full(*A, {120, orthogonality, true}, random);
  for (auto* lanczos : {&partial, &full}) {
    lanczos->start();
    while (!lanczos->full()) ASSERT_TRUE(lanczos->extend());
  }
  auto [Q, R] = at::linalg_qr(partial.basis());
  Tensor signs = R.diagonal().sign();
  Tensor projected = Q.t().mm(A->apply(Q)) * signs.unsqueeze(0) * signs.unsqueeze(1);
  EXPECT_LT(largest(projected - partial.projected()), 1e-12);
  EXPECT_LT(partial.rows_reorthogonalised(), full.rows_reorthogonalised() / 2);
}

TEST(Lanczos, KeepsToTheComplementOfDeflatedVectors) {
  auto A = testing::rotated_diagonal(at::linspace(0, 1, 300, at::kDouble), 5);
  RandomStream random(6, "start");
  Tensor D = std::get<0>(at::linalg_qr(random.normal({300, 4}, at::kDouble)));
  Lanczos lanczos(*A, {30, 1e-8, false}, random);
  ASSERT_TRUE(lanczos.start(D));
  while (!lanczos.full()) ASSERT_TRUE(lanczos.extend());
  EXPECT_LT(largest(D.t().mm(lanczos.basis())), 1e-13);
  Tensor P = at::eye(300, at::kDouble) - D.mm(D.t());
  Tensor V = lanczos.basis();
  EXPECT_LT(largest(V.t().mm(P).mm(to_dense(*A)).mm(V) - lanczos.projected()), 1e-8);
}

TEST(Lanczos, GoesOnFromAFreshVectorWhereASubspaceIsInvariant) {
  Tensor d = testing::cat({at::full({4}, 2.0, at::kDouble), at::full({3}, 5.0, at::kDouble)});
  auto A = testing::rotated_diagonal(d, 7);
  RandomStream random(8, "start");
  Lanczos lanczos(*A, {7, 1e-8, false}, random);
  lanczos.start();
  while (!lanczos.exhausted()) ASSERT_TRUE(lanczos.extend());
  EXPECT_EQ(lanczos.size(), 7);
  Tensor values = at::linalg_eigvalsh(lanczos.projected());
  EXPECT_LT(largest(values - std::get<0>(d.sort())), 1e-13);
}

TEST(Lanczos, SaysThatAProductWasNotFiniteAndKeepsWhatItHas) {
  int calls = 0;
  auto A = function_operator(
      {50, at::kDouble},
      [&](const Tensor& X) {
        return ++calls == 5 ? X * std::numeric_limits<double>::quiet_NaN()
                            : at::arange(50, at::kDouble).unsqueeze(1) * X;
      },
      "breaks");
  RandomStream random(9, "start");
  Lanczos lanczos(*A, {10, 1e-8, false}, random);
  lanczos.start();
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(lanczos.extend());
  EXPECT_FALSE(lanczos.extend());
  EXPECT_EQ(lanczos.size(), 4);
  EXPECT_TRUE(lanczos.projected().isfinite().all().item<bool>());
}

}  // namespace
}  // namespace osculant
