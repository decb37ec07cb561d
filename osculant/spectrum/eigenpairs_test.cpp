#include "osculant/spectrum/eigenpairs.h"

#include <Spectra/SymEigsSolver.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <Eigen/Eigenvalues>
#include <cmath>
#include <limits>

#include "osculant/base/error.h"
#include "osculant/spectrum/certificate.h"
#include "osculant/spectrum/lanczos.h"
#include "osculant/spectrum/pair_verification.h"
#include "osculant/spectrum/spectrum_ends.h"
#include "osculant/spectrum/statistics.h"
#include "osculant/spectrum/testing.h"

namespace osculant {
namespace {

using testing::cat;
using testing::largest;
using testing::rotated_diagonal;

// The first `count` of the true eigenvalues in a target's order.
Tensor truth(Tensor eigenvalues, EigenTarget target, int64_t count) {
  Tensor up = std::get<0>(eigenvalues.sort()), down = up.flip(0);
  count = std::min(count, eigenvalues.numel());
  if (target == EigenTarget::smallest) return up.slice(0, 0, count);
  if (target == EigenTarget::both) return cat({down.slice(0, 0, count), up.slice(0, 0, count)});
  if (target == EigenTarget::dominant)
    down = down.index_select(0, down.abs().argsort(/*dim=*/0, /*descending=*/true));
  return down.slice(0, 0, count);
}

// Statement 1, and where statement 3 is more than a guess the two together: the i-th value is within the
// pairing bound of the i-th eigenvalue, but where an eigenvalue less than the search's margin beyond the
// innermost value was passed over.
void expect_values_hold(const EigenResult& result, const Tensor& values, const Tensor& expected, bool upper) {
  double margin = result.missed_margin();
  Tensor beyond = upper ? expected - values : values - expected;
  Tensor reach = upper ? values[-1] + margin - values : values - values[-1] + margin;
  EXPECT_LE(largest(beyond.clamp_max(0)), result.pairing_bound);
  if (result.missed_failure_probability > 0.01) return;
  EXPECT_TRUE(beyond.le(reach.clamp_min(result.pairing_bound)).all().item<bool>()) << values << expected;
}

// Everything a result states, against the truth; `double_operator` is the same operator in float64.
void expect_statements_hold(const EigenResult& result, const Tensor& eigenvalues,
                            const LinearOperator& double_operator, int64_t count) {
  Tensor expected = truth(eigenvalues, result.target, count);
  ASSERT_EQ(result.values.numel(), expected.numel());
  Tensor V = result.vectors.to(at::kDouble);
  int64_t k = expected.numel();
  double u = result.vectors.scalar_type() == at::kFloat ? 1.2e-7 : 2.2e-16;
  EXPECT_LT(largest(V.t().mm(V) - at::eye(k, at::kDouble)), 100 * u);
  int64_t split = result.largest_count;
  if (result.target == EigenTarget::dominant) {
    expect_values_hold(result, result.values.abs(), expected.abs(), true);
  } else {
    if (split > 0)
      expect_values_hold(result, result.values.slice(0, 0, split), expected.slice(0, 0, split), true);
    if (split < k) expect_values_hold(result, result.values.slice(0, split), expected.slice(0, split), false);
  }
  Tensor residuals = (double_operator.apply(V) - V * result.values).norm(2, {0});
  EXPECT_TRUE(residuals.le(result.residuals).all().item<bool>()) << residuals << result.residuals;
  Tensor distance = (result.values.unsqueeze(1) - eigenvalues.unsqueeze(0)).abs().amin(1);
  EXPECT_TRUE(distance.le(result.residuals).all().item<bool>()) << distance << result.residuals;
}

struct Case {
  EigenTarget target;
  at::ScalarType dtype;
  double tolerance;
};

class EigenpairsOverSpectra : public ::testing::TestWithParam<Case> {};

TEST_P(EigenpairsOverSpectra, StateBoundsThatHold) {
  auto [target, dtype, tolerance] = GetParam();
  for (auto& spectrum : testing::spectra(500)) {
    for (uint64_t seed = 0; seed < 4; ++seed) {
      SCOPED_TRACE(fmt::format("{}, seed {}", spectrum.name, seed));
      auto A = rotated_diagonal(spectrum.eigenvalues, seed, dtype);
      auto result = eigenpairs(*A, {.count = 5, .target = target, .tolerance = tolerance, .seed = seed});
      EXPECT_TRUE(result.converged()) << result.report();
      EXPECT_TRUE(result.checked) << result.report();
      EXPECT_LE(largest(result.residuals - result.noise), tolerance * result.scale);
      EXPECT_EQ(result.products, A->products());
      expect_statements_hold(result, spectrum.eigenvalues, *rotated_diagonal(spectrum.eigenvalues, seed), 5);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, EigenpairsOverSpectra,
                         ::testing::Values(Case{EigenTarget::largest, at::kDouble, 1e-8},
                                           Case{EigenTarget::smallest, at::kDouble, 1e-5},
                                           Case{EigenTarget::dominant, at::kDouble, 1e-8},
                                           Case{EigenTarget::both, at::kDouble, 1e-5},
                                           Case{EigenTarget::largest, at::kFloat, 1e-4},
                                           Case{EigenTarget::both, at::kFloat, 1e-4},
                                           Case{EigenTarget::both, at::kDouble, 1e-3},
                                           Case{EigenTarget::dominant, at::kFloat, 1e-3}));

TEST(Eigenpairs, FindEveryCopyOfMultipleEigenvalues) {
  Tensor bulk = at::linspace(0, 1, 400, at::kDouble);
  for (uint64_t seed = 0; seed < 5; ++seed) {
    SCOPED_TRACE(seed);
    Tensor d = cat({at::tensor({7., 7., 5., 5., 5., 4., 3.}, at::kDouble), bulk});
    auto result = eigenpairs(*rotated_diagonal(d, seed), {.count = 6, .tolerance = 1e-8, .seed = seed});
    EXPECT_GE(result.found_by_check,
              1);  // a Krylov space holds one direction of each eigenspace, but for rounding
    expect_statements_hold(result, d, *rotated_diagonal(d, seed), 6);
  }
}

TEST(Eigenpairs, WithoutTheCheckMissCopiesAndSayOnlyWhatTheyKnow) {
  Tensor d = cat({at::tensor({7., 7., 5.}, at::kDouble), at::linspace(0, 1, 400, at::kDouble)});
  auto result = eigenpairs(*rotated_diagonal(d, 1), {.count = 2, .tolerance = 1e-8, .check_products = 0});
  EXPECT_FALSE(result.checked);
  EXPECT_EQ(result.missed_failure_probability, 1);
  EXPECT_NEAR(result.values[1].item<double>(), 5, 1e-9);  // the second 7 was missed
}

TEST(Eigenpairs, OfTrivialOperators) {
  auto zero = diagonal_operator(at::zeros({300}, at::kDouble));
  auto result = eigenpairs(*zero, {.count = 3, .dense_limit = 0});
  EXPECT_EQ(result.values.numel(), 3);
  EXPECT_LT(largest(result.values), 1e-14);
  auto identity = diagonal_operator(at::ones({300}));
  result = eigenpairs(*identity, {.count = 3, .target = EigenTarget::both, .dense_limit = 0});
  EXPECT_EQ(result.values.numel(), 6);
  EXPECT_LT(largest(result.values - 1), 1e-6);
  auto one = diagonal_operator(at::full({1}, -2.5, at::kDouble));
  result = eigenpairs(*one, {.count = 4});
  EXPECT_EQ(result.values.numel(), 1);
  EXPECT_NEAR(result.values[0].item<double>(), -2.5, 1e-14);
  EXPECT_EQ(result.stop, EigenStop::exact);
}

TEST(Eigenpairs, OfSmallOperatorsAreExactAtBothEndsAtThePriceOfTheMatrix) {
  for (auto dtype : {at::kDouble, at::kFloat}) {
    Tensor d = cat({at::linspace(-3, 4, 16, at::kDouble), at::full({1}, 4.0, at::kDouble)});
    auto A = rotated_diagonal(d, 2, dtype);
    auto result = eigenpairs(*A, {.count = 20, .target = EigenTarget::both});
    EXPECT_EQ(result.products, 17);
    ASSERT_EQ(result.largest().size(), 17u);  // both lists whole, although they overlap
    ASSERT_EQ(result.smallest().size(), 17u);
    EXPECT_LE(largest(result.values - truth(d, EigenTarget::both, 20)), result.pairing_bound);
    EXPECT_LT(result.pairing_bound, dtype == at::kDouble ? 1e-12 : 1e-4);
    EXPECT_EQ(result.missed_failure_probability, 0);
  }
}

TEST(Eigenpairs, AgreeWithTheDenseSolverAndWithSpectraInNoMoreProducts) {
  int64_t n = 400;
  auto A = rotated_diagonal(testing::spectra(n)[2].eigenvalues, 3);
  Tensor dense = to_dense(*A).contiguous();
  Eigen::Map<Eigen::MatrixXd> M(dense.data_ptr<double>(), n, n);
  Eigen::VectorXd all = Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd>(M).eigenvalues();
  Spectra::DenseSymMatProd<double> product(M);
  Spectra::SymEigsSolver<Spectra::DenseSymMatProd<double>> spectra(product, 8, 24);
  spectra.init();
  spectra.compute(Spectra::SortRule::LargestAlge, 1000, 1e-6);
  auto result = eigenpairs(
      *A, {.count = 8, .tolerance = 1e-6, .krylov_dimension = 24, .verify = false, .check_products = 0});
  for (int i = 0; i < 8; ++i) {
    EXPECT_NEAR(result.values[i].item<double>(), all[n - 1 - i], 1e-10);
    EXPECT_NEAR(spectra.eigenvalues()[i], all[n - 1 - i], 1e-9);
  }
  EXPECT_LE(result.products, spectra.num_operations() + 8);
}

TEST(Eigenpairs, OfAFloatOperatorAreFreeOfGhostsInALongRun) {
  // Without reorthogonalisation the top values converge again and again within 150 steps.
  Tensor d = testing::spectra(3000)[2].eigenvalues;
  auto result = eigenpairs(*rotated_diagonal(d, 4, at::kFloat),
                           {.count = 20, .tolerance = 1e-3, .krylov_dimension = 200});
  expect_statements_hold(result, d, *rotated_diagonal(d, 4), 20);
  EXPECT_LT(largest(result.values.slice(0, 0, 10) - truth(d, EigenTarget::largest, 10)), 1e-4);
}

TEST(Eigenpairs, KeepTheirBoundWithoutVerification) {
  for (auto& spectrum : testing::spectra(500))
    for (auto dtype : {at::kDouble, at::kFloat}) {
      SCOPED_TRACE(spectrum.name);
      auto A = rotated_diagonal(spectrum.eigenvalues, 5, dtype);
      auto result =
          eigenpairs(*A, {.count = 4, .krylov_dimension = 30, .verify = false, .check_products = 40});
      EXPECT_TRUE(result.checked);
      expect_statements_hold(result, spectrum.eigenvalues, *rotated_diagonal(spectrum.eigenvalues, 5), 4);
    }
}

TEST(Eigenpairs, MeasureTheNoiseOfProductsAndClaimNoDigitBelowIt) {
  Tensor d = testing::spectra(500)[2].eigenvalues;
  auto exact = rotated_diagonal(d, 6);
  RandomStream random(7, "noise");
  double relative = 1e-6;
  auto noisy = function_operator(
      exact->domain(),
      [&](const Tensor& X) {
        Tensor Y = exact->apply(X), error = random.normal(Y.sizes(), at::kDouble);
        return Y + error * (relative * Y.norm(2, {0}) / error.norm(2, {0}));
      },
      "noisy");
  auto result = eigenpairs(*noisy, {.count = 5, .tolerance = 1e-3});
  EXPECT_EQ(result.stop, EigenStop::converged);
  EXPECT_GT(result.noise, relative * 5);  // the wanted values are 6 to 10
  EXPECT_LT(result.noise, relative * 50);
  expect_statements_hold(result, d, *exact, 5);
  auto below = eigenpairs(*noisy, {.count = 5, .tolerance = 1e-8});
  EXPECT_EQ(below.stop, EigenStop::noise) << below.report();
  EXPECT_FALSE(below.converged());
  expect_statements_hold(below, d, *exact, 5);
  auto told = eigenpairs(*exact, {.count = 5, .noise_floor = 1e-4});
  EXPECT_GE(told.residuals.min().item<double>(), 1e-4 * told.scale);
}

TEST(Eigenpairs, CountTheirProducts) {
  auto A = rotated_diagonal(testing::spectra(1000)[2].eigenvalues, 8);
  auto bare = eigenpairs(*A, {.count = 5, .verify = false, .check_products = 0});
  EXPECT_EQ(bare.products, A->products());
  auto verified = eigenpairs(*A, {.count = 5, .check_products = 0});
  EXPECT_EQ(verified.products, bare.products + PairVerification::kProbes);
  auto checked = eigenpairs(*A, {.count = 5, .failure_probability = 0, .check_products = 13});
  EXPECT_EQ(checked.check_steps, 13);
  EXPECT_EQ(checked.products, verified.products + 13);
}

TEST(Eigenpairs, MultiplyWhatTheRecurrenceIsNotToBeBelievedAbout) {
  Tensor d = testing::spectra(1000)[2].eigenvalues;
  auto extra = [](const LinearOperator& A, EigenOptions options) {
    options.check_products = 0;
    int64_t verified = eigenpairs(A, options).products;
    options.verify = false;
    return verified - eigenpairs(A, options).products;
  };
  auto A = rotated_diagonal(d, 8), in_float = rotated_diagonal(d, 8, at::kFloat);
  EXPECT_EQ(extra(*A, {.count = 1}), 2);
  auto restarted = rotated_diagonal(testing::spectra(300)[0].eigenvalues, 8);
  EigenOptions small{.count = 5, .krylov_dimension = 24, .check_products = 0};
  ASSERT_GT(eigenpairs(*restarted, small).restarts, 0);
  EXPECT_EQ(extra(*restarted, small), 6);
  EXPECT_EQ(extra(*in_float, {.count = 5, .tolerance = 1e-4}), 6) << "near the precision";
}

TEST(Eigenpairs, StopAtTheProductLimitWithHonestBounds) {
  Tensor d = testing::spectra(1000)[0].eigenvalues;
  for (bool verify : {true, false}) {
    auto A = rotated_diagonal(d, 9);
    auto result = eigenpairs(*A, {.count = 5, .tolerance = 1e-10, .max_products = 40, .verify = verify});
    EXPECT_EQ(result.stop, EigenStop::products);
    EXPECT_LE(A->products(), 40);
    EXPECT_FALSE(result.checked);
    Tensor distance = (result.values.unsqueeze(1) - d.unsqueeze(0)).abs().amin(1);
    EXPECT_TRUE(distance.le(result.residuals).all().item<bool>());
  }
}

TEST(Eigenpairs, StopWhenAskedToAndWhenAProductIsNotFinite) {
  auto A = rotated_diagonal(testing::spectra(1000)[0].eigenvalues, 10);
  auto result =
      eigenpairs(*A, {.count = 3, .progress = [](const EigenProgress& p) { return p.products < 12; }});
  EXPECT_EQ(result.stop, EigenStop::interrupted);
  EXPECT_EQ(result.products, 12);
  EXPECT_EQ(result.values.numel(), 3);
  int calls = 0;
  auto breaks = function_operator(
      A->domain(), [&](const Tensor& X) { return ++calls == 9 ? X / 0 : A->apply(X); }, "breaks");
  result = eigenpairs(*breaks, {.count = 3});
  EXPECT_EQ(result.stop, EigenStop::non_finite);
  EXPECT_TRUE(result.values.isfinite().all().item<bool>());
  auto breaks_late = function_operator(
      A->domain(), [&](const Tensor& X) { return X.size(1) > 1 ? X / 0 : A->apply(X); }, "breaks late");
  result = eigenpairs(*breaks_late, {.count = 3});  // in the products that verify
  EXPECT_EQ(result.stop, EigenStop::non_finite);
  EXPECT_TRUE(result.residuals.isfinite().all().item<bool>());
  auto nan = diagonal_operator(at::full({20}, std::numeric_limits<double>::quiet_NaN(), at::kDouble));
  EXPECT_EQ(eigenpairs(*nan).stop, EigenStop::non_finite);
  EXPECT_EQ(eigenpairs(*nan, {.count = 1, .dense_limit = 0}).stop, EigenStop::non_finite);
}

TEST(Eigenpairs, AreTheSameBitsForTheSameSeed) {
  auto A = rotated_diagonal(testing::spectra(500)[1].eigenvalues, 11);
  auto first = eigenpairs(*A, {.seed = 3}), second = eigenpairs(*A, {.seed = 3}),
       other = eigenpairs(*A, {.seed = 4});
  EXPECT_TRUE(first.vectors.equal(second.vectors));
  EXPECT_FALSE(first.vectors.equal(other.vectors));
}

TEST(Eigenpairs, SearchUntilTheProbabilityOfAMissIsAsSmallAsAskedFor) {
  auto A = rotated_diagonal(testing::spectra(1000)[2].eigenvalues, 15);
  for (double wanted : {0.1, 1e-3, 1e-6}) {
    auto result = eigenpairs(*A, {.count = 8, .failure_probability = wanted, .check_products = 500});
    EXPECT_TRUE(result.checked);
    EXPECT_LE(result.missed_failure_probability, wanted);
    EXPECT_LT(result.check_steps, 500);
  }
}

TEST(Eigenpairs, FailureProbabilityIsANumberInManyDimensionsToo) {
  // Outliers of both signs over a bulk. The bound of Kuczynski & Wozniakowski would need 250 steps here.
  int64_t n = 100000;
  Tensor bulk = RandomStream(16, "bulk").normal({n - 10}, at::kDouble) * 0.02;
  Tensor d = cat({at::linspace(1, 2, 6, at::kDouble), at::linspace(-1.5, -0.5, 4, at::kDouble), bulk});
  auto result = eigenpairs(*rotated_diagonal(d, 16, at::kFloat), {.count = 5, .krylov_dimension = 60});
  EXPECT_TRUE(result.converged());
  EXPECT_LE(result.extreme_failure_probability, 0.01);
  EXPECT_LE(result.missed_failure_probability, 0.01);
  EXPECT_LT(result.check_steps, 40);
}

TEST(Eigenpairs, ReportTheirValuesAndStatements) {
  auto A = rotated_diagonal(testing::spectra(500)[2].eigenvalues, 12);
  auto result = eigenpairs(*A, {.count = 2, .target = EigenTarget::both});
  EXPECT_THAT(result.report(),
              ::testing::AllOf(::testing::HasSubstr("2 largest and 2 smallest eigenvalues"),
                               ::testing::HasSubstr("10"), ::testing::HasSubstr("pair one to one"),
                               ::testing::HasSubstr("fresh random vector")));
  EXPECT_THAT(result.brief(), ::testing::HasSubstr("converged"));
}

TEST(Eigenpairs, RefuseWhatCannotBeMeant) {
  auto A = rotated_diagonal(testing::spectra(500)[0].eigenvalues, 13);
  EXPECT_THROW(eigenpairs(*A, {.count = 0}), Error);
  EXPECT_THROW(eigenpairs(*A, {.tolerance = 0}), Error);
  EXPECT_THROW(eigenpairs(*A, {.count = 10, .krylov_dimension = 12}), Error);
  EXPECT_THROW(eigenpairs(*dense_operator(at::eye(300, at::kDouble))), Error);
}

// ---- the certificate ----

TEST(Certificate, FailureProbabilityIsTheBoundOfKuczynskiAndWozniakowski) {
  // 1.648 * sqrt(10000) * exp(-sqrt(0.01) * (2 * 100 - 1)) = 164.8 * exp(-19.9)
  EXPECT_NEAR(lanczos_failure_probability(10000, 0.01, 100), 164.8 * std::exp(-19.9), 1e-15);
  EXPECT_EQ(lanczos_failure_probability(10000, 0.01, 3), 1);
  EXPECT_EQ(lanczos_failure_probability(10000, 0, 1000), 1);
  for (double p : {1e-1, 1e-3, 1e-6}) {
    int64_t q = lanczos_steps_for(5000, 1e-2, p);
    EXPECT_LE(lanczos_failure_probability(5000, 1e-2, q), p);
    EXPECT_GT(lanczos_failure_probability(5000, 1e-2, q - 1), p);
  }
}

TEST(Certificate, CoversWhatHappensOverRandomStarts) {
  // Uniform spectrum: the share of starts whose largest Ritz value is off by more than e stays below the
  // bound.
  int64_t n = 300, steps = 40, failures = 0, starts = 200;
  auto A = rotated_diagonal(at::linspace(0, 1, n, at::kDouble), 14);
  double e = 0.02, bound = lanczos_failure_probability(n, e, steps);
  ASSERT_LT(bound, 0.5);
  for (int64_t seed = 0; seed < starts; ++seed) {
    auto r = eigenpairs(*A, {.count = 1,
                             .tolerance = 1e-14,
                             .max_products = steps,
                             .dense_limit = 0,
                             .seed = static_cast<uint64_t>(seed),
                             .verify = false,
                             .check_products = 0});
    failures += r.values[0].item<double>() < 1 - e;
  }
  EXPECT_LE(static_cast<double>(failures) / starts, bound);
}

// The weight of a random start on the top eigenvector, and the run from it.
struct Run {
  double weight = 0, top = 0;
  Tridiagonal T;
};
Run run_of(const Tensor& d, int64_t steps, uint64_t seed) {
  auto A = diagonal_operator(d);
  RandomStream random(seed, "start");
  Lanczos lanczos(*A, {steps, 1e-14, true}, random);
  lanczos.start();
  while (!lanczos.full()) lanczos.extend();
  double entry = lanczos.basis()[-1][0].item<double>();
  return {entry * entry, d[-1].item<double>(), lanczos.first_cycle()};
}

TEST(Certificate, NoStartHasMoreWeightBeyondAPointThanTheRunAllows) {
  Tensor d = at::linspace(0, 1, 12, at::kDouble);
  for (uint64_t seed = 0; seed < 20; ++seed) {
    double before = 1;
    for (int64_t steps : {2, 4, 8, 11}) {
      auto [weight, top, T] = run_of(d, steps, seed);
      double most = largest_weight_beyond(T, top);
      EXPECT_GE(most, weight * (1 - 1e-6));
      EXPECT_LE(most, before);
      EXPECT_LE(largest_weight_beyond(T, top + 0.1), most);
      before = most;
    }
    // With n - 1 steps all n polynomials are known, and the weight with them.
    auto [weight, top, T] = run_of(d, 11, seed);
    EXPECT_NEAR(largest_weight_beyond(T, top), weight, 1e-6 * weight);
    EXPECT_EQ(largest_weight_beyond(T, 0.5), 1) << "no bound amid the Ritz values";
  }
}

TEST(Certificate, EscapesAreAsRareAsItSays) {
  // An eigenvalue escapes at level p when the bound says so though it is there. With n - 1 steps p is
  // uniform.
  Tensor d = at::linspace(0, 1, 12, at::kDouble);
  for (int64_t steps : {4, 8, 11}) {
    int escapes = 0;
    for (uint64_t seed = 0; seed < 400; ++seed) {
      auto run = run_of(d, steps, seed);
      escapes += escape_probability(12, run.T, run.top) <= 0.1;
    }
    EXPECT_LE(escapes, 40 + 3 * 6);
    EXPECT_GE(escapes, steps == 11 ? 40 - 3 * 6 : 0);
  }
}

TEST(Certificate, FrobeniusBoundIsExceededAsRarelyAsItSaysByRankOneTheWorst) {
  EXPECT_NEAR(frobenius_bound(8, 2, 0.01), std::sqrt(8 * std::exp(1.0) / (2 * 0.01)), 1e-12);
  Tensor rank_one = cat({at::ones({1}, at::kDouble), at::zeros({5}, at::kDouble)}),
         flat = at::full({6}, 1 / std::sqrt(6.), at::kDouble);  // singular values; norm_F = 1
  RandomStream random(17, "probes");
  for (const Tensor& singular : {rank_one, flat}) {
    int exceeded = 0;
    for (int draw = 0; draw < 4000; ++draw) {
      Tensor Eg = singular.unsqueeze(1) * random.normal({6, 2}, at::kDouble);
      exceeded += frobenius_bound(Eg.square().sum().item<double>(), 2, 0.1) < 1;
    }
    // P(chi-square of 2 degrees < 0.2 / e) = 0.036 for rank one.
    EXPECT_LE(exceeded, 0.036 * 4000 + 3 * 12);
    EXPECT_GE(exceeded, singular.is_same(rank_one) ? 0.036 * 4000 - 3 * 12 : 0);
  }
}

TEST(Certificate, AnEscapeAtBothEndsIsTheSumOfBoth) {
  auto T = run_of(at::linspace(0, 1, 12, at::kDouble), 6, 3).T;
  Tridiagonal mirrored = T;
  for (double& alpha : mirrored.diagonal) alpha = -alpha;
  double up = escape_probability(12, T, 1.02), down = escape_probability(12, mirrored, 0.03);
  SpectrumEnds ends;
  ends.above = 1.02;
  EXPECT_EQ(ends.escape_probability(12, T), up);
  ends.below = -0.03;
  EXPECT_EQ(ends.escape_probability(12, T), up + down);
  EXPECT_TRUE(ends.leave_out(1.03) && ends.leave_out(-0.04) && !ends.leave_out(0.5));
}

TEST(Certificate, EntriesOfRandomUnitVectorsHaveTheirDistribution) {
  EXPECT_NEAR(random_entry_probability(2, 0.5), 0.5, 1e-12);   // arcsine law
  EXPECT_NEAR(random_entry_probability(3, 0.09), 0.3, 1e-12);  // uniform (Archimedes)
  EXPECT_NEAR(random_entry_probability(1500000, 1e-14), std::sqrt(2 * 1.5e6 * 1e-14 / M_PI), 1e-9);
  EXPECT_EQ(random_entry_probability(1, 0.5), 0);
}

TEST(Certificate, ShiftedRelativeErrorIsAShareOfTheWidth) {
  EXPECT_DOUBLE_EQ(shifted_relative_error(3, 2, -1), 0.25);
  EXPECT_EQ(shifted_relative_error(2, 3, -1), 0);
  EXPECT_EQ(shifted_relative_error(1, 0, 1), 0);
}

}  // namespace
}  // namespace osculant
