#include "osculant/spectrum/low_rank.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "osculant/base/error.h"
#include "osculant/spectrum/pivoted_qr.h"
#include "osculant/spectrum/statistics.h"
#include "osculant/spectrum/testing.h"

namespace osculant {
namespace {

using testing::cat;
using testing::power_law;
using testing::rotated_diagonal;

constexpr int64_t kSize = 120;

std::vector<testing::Spectrum> low_rank_spectra() {
  Tensor bulk = at::linspace(-0.01, 0.01, kSize - 10, at::kDouble),
         zeros = at::zeros({kSize - 6}, at::kDouble);
  return {
      {"power law", power_law(kSize, 1.5)},
      {"rank deficient", cat({at::linspace(1, 2, 6, at::kDouble), zeros})},
      {"indefinite", cat({at::linspace(1, 2, 5, at::kDouble), at::linspace(-1.5, -1, 5, at::kDouble), bulk})},
      {"clustered", cat({at::full({5}, 10.0, at::kDouble), at::full({4}, 3.0, at::kDouble),
                         at::full({kSize - 9}, 0.1, at::kDouble)})},
      {"zero", at::zeros({kSize}, at::kDouble)}};
}

// sqrt(sum of the squares of all eigenvalues but the k of largest magnitude).
double best_error(const Tensor& eigenvalues, int64_t k) {
  Tensor sorted = std::get<0>(eigenvalues.abs().sort(0, /*descending=*/true));
  return sorted.slice(0, std::min(k, sorted.numel())).norm().item<double>();
}

double true_error(const LinearOperator& A, const LowRank& result) {
  Tensor V = result.vectors.to(at::kDouble);
  return (to_dense(A).to(at::kDouble) - (V * result.values).mm(V.t())).norm().item<double>();
}

double departure_from_orthonormal(const Tensor& V) {
  Tensor gram = V.t().mm(V).to(at::kDouble);
  return (gram - at::eye(V.size(1), at::kDouble)).norm().item<double>();
}

struct Case {
  LowRankMethod method;
  double factor;     // of the best error, beside rounding
  int64_t products;  // for rank 8, oversampling 6, 5 passes, 30 probes; -1: not promised
  bool semidefinite = false;
};

class LowRankOf : public ::testing::TestWithParam<Case> {};

TEST_P(LowRankOf, EverySpectrumIsWithinItsFactorOfTheBestAndItsIntervalCovers) {
  auto [method, factor, products, semidefinite] = GetParam();
  for (auto dtype : {at::kDouble, at::kFloat}) {
    for (auto& [name, eigenvalues] : low_rank_spectra()) {
      if (semidefinite && eigenvalues.lt(0).any().item<bool>()) continue;
      SCOPED_TRACE(name);
      auto A = rotated_diagonal(eigenvalues, 1, dtype);
      double u = A->domain().epsilon(), norm = eigenvalues.norm().item<double>();
      auto result = low_rank(*A, {.method = method,
                                  .count = 8,
                                  .oversampling = 6,
                                  .power_passes = 5,
                                  .lanczos_tolerance = 1e-4,
                                  .negative_products = 0,
                                  .seed = 1});
      EXPECT_EQ(result.stop, LowRankStop::done);
      EXPECT_LE(result.rank(), 8);
      bool full_rank = name != "zero" && name != "rank deficient";
      if (products > 0 && full_rank) {
        EXPECT_EQ(result.products, products);
      }
      EXPECT_LT(departure_from_orthonormal(result.vectors), 100 * u);
      double error = true_error(*A, result), best = best_error(eigenvalues, 8);
      double rounding = 20 * u * norm * (semidefinite ? std::sqrt(kSize) : 1);  // Nystrom's shift
      EXPECT_LE(error, factor * best + rounding);
      EXPECT_GE(error, best - rounding);
      EXPECT_LE(result.error_low, error);
      EXPECT_GE(result.error_high, error);
      EXPECT_LE(result.error_high, 1.8 * error + 30 * u * norm);
      EXPECT_EQ(result.error_exact, method == LowRankMethod::svd || method == LowRankMethod::qr);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, LowRankOf,
                         ::testing::Values(Case{LowRankMethod::svd, 1, kSize},
                                           Case{LowRankMethod::qr, 1.5, kSize},
                                           Case{LowRankMethod::randomized_svd, 1.1, 14 * 7 + 30},
                                           Case{LowRankMethod::randomized_qr, 1.1, 14 * 7 + 30},
                                           Case{LowRankMethod::nystrom, 2.5, 14 + 30, true},
                                           Case{LowRankMethod::indefinite_nystrom, 5, 14 + 30},
                                           Case{LowRankMethod::lanczos, 1.01, -1}),
                         [](const auto& info) { return std::string(to_string(info.param.method)); });

int covered(const Tensor& eigenvalues, LowRankMethod method, int64_t count) {
  auto A = rotated_diagonal(eigenvalues, 2);
  int times = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    auto result =
        low_rank(*A, {.method = method, .count = count, .oversampling = 2, .power_passes = 0, .seed = seed});
    double error = true_error(*A, result);
    EXPECT_FALSE(result.error_exact);
    times += result.error_low <= error && error <= result.error_high;
  }
  return times;
}

TEST(LowRank, IntervalsCoverAtLeastAsOftenAsTheySay) {
  for (auto method : {LowRankMethod::randomized_svd, LowRankMethod::nystrom})
    EXPECT_GE(covered(power_law(kSize, 1), method, 5), 190);
  // Left is a matrix of rank one, for which the interval is exact: 200 times 0.95, and three deviations.
  Tensor one_left =
      cat({at::full({6}, 1e4, at::kDouble), at::ones({1}, at::kDouble), at::zeros({113}, at::kDouble)});
  auto A = rotated_diagonal(one_left, 3);
  int times = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    auto result = low_rank(
        *A, {.method = LowRankMethod::lanczos, .count = 6, .lanczos_tolerance = 1e-10, .seed = seed});
    times += result.error_low <= 1 && 1 <= result.error_high;
  }
  EXPECT_GE(times, 181);
  EXPECT_LE(times, 199);
}

TEST(LowRank, RankIsChosenByTheError) {
  Tensor eigenvalues = power_law(kSize, 2);
  auto A = rotated_diagonal(eigenvalues, 4);
  double norm = eigenvalues.norm().item<double>();
  for (double tolerance : {0.1, 0.01, 0.003}) {
    int64_t least = 0;
    while (best_error(eigenvalues, least) > tolerance * norm) ++least;
    auto by = [&](LowRankMethod method) {
      return low_rank(*A, {.method = method, .count = 60, .tolerance = tolerance, .block = 4});
    };
    auto svd = by(LowRankMethod::svd), qr = by(LowRankMethod::qr), qb = by(LowRankMethod::randomized_qr);
    EXPECT_EQ(svd.rank(), least);
    for (const auto& result : {svd, qr}) EXPECT_LE(result.error, tolerance * norm);
    EXPECT_LE(qr.rank(), 2 * least + 1);
    EXPECT_LE(true_error(*A, qb), 1.2 * tolerance * norm);
    EXPECT_LE(qb.rank(), least + 2);
    EXPECT_LE(qb.products, (qb.rank() + 4) * 4 + 4 + 30)
        << "blocks of 4, q = 2, and the sketch that stopped it";
    for (const auto& result : {svd, qr, qb}) EXPECT_EQ(result.stop, LowRankStop::done);
  }
  for (auto method : {LowRankMethod::svd, LowRankMethod::qr, LowRankMethod::randomized_qr}) {
    auto result = low_rank(*A, {.method = method, .count = 3, .tolerance = 1e-3});
    EXPECT_EQ(result.stop, LowRankStop::rank);
    EXPECT_EQ(result.rank(), 3);
  }
  // All that fits into the rank is kept, and only what is beyond it is missing.
  auto flat = rotated_diagonal(at::ones({kSize}, at::kDouble), 4);
  auto beyond = low_rank(*flat, {.method = LowRankMethod::randomized_qr, .count = 30, .tolerance = 0.1});
  EXPECT_EQ(beyond.stop, LowRankStop::rank);
  EXPECT_THAT(beyond.report(), ::testing::HasSubstr("rank above 30"));
}

TEST(LowRank, OfAnOperatorNoLargerThanTheRankIsTheOperator) {
  for (int64_t n : {1, 2, 7}) {
    Tensor eigenvalues = at::arange(1, n + 1, at::kDouble);
    auto A = dense_operator(rotated_diagonal(eigenvalues, 5)->apply(at::eye(n, at::kDouble)), true);
    if (n == 1) A = diagonal_operator(eigenvalues);
    for (auto method :
         {LowRankMethod::svd, LowRankMethod::qr, LowRankMethod::randomized_svd, LowRankMethod::randomized_qr,
          LowRankMethod::nystrom, LowRankMethod::indefinite_nystrom, LowRankMethod::lanczos}) {
      auto result = low_rank(*A, {.method = method, .count = 20});
      SCOPED_TRACE(result.report());
      EXPECT_EQ(result.rank(), n);
      EXPECT_TRUE(result.error_exact);
      EXPECT_LT(true_error(*A, result), 1e-12);
      EXPECT_LT(result.error_high, 1e-12 * n * n);
    }
  }
}

TEST(LowRank, NystromRefusesWhereANegativeEigenvalueIsDetected) {
  // Small beside the others: the shifted projected matrix has a Cholesky factor all the same.
  Tensor eigenvalues = cat({power_law(kSize, 1).slice(0, 0, kSize - 1), at::full({1}, -0.02, at::kDouble)});
  auto A = rotated_diagonal(eigenvalues, 6);
  auto refused = low_rank(*A, {.method = LowRankMethod::nystrom, .count = 5});
  EXPECT_EQ(refused.stop, LowRankStop::indefinite);
  EXPECT_THAT(refused.message, ::testing::HasSubstr("detected"));
  EXPECT_EQ(refused.rank(), 0);
  EXPECT_EQ(refused.error_high, std::numeric_limits<double>::infinity());
  EXPECT_LE(refused.products, 30);
  EXPECT_EQ(low_rank(*A, {.method = LowRankMethod::nystrom, .count = 5, .negative_products = 0}).stop,
            LowRankStop::done);
  auto strongly = rotated_diagonal(-power_law(kSize, 1), 6);
  EXPECT_EQ(low_rank(*strongly, {.method = LowRankMethod::nystrom, .count = 5, .negative_products = 0}).stop,
            LowRankStop::indefinite);

  auto declared = diagonal_operator(power_law(kSize, 1));
  ASSERT_TRUE(declared->positive_semidefinite());
  EXPECT_EQ(low_rank(*declared, {.method = LowRankMethod::nystrom, .count = 5}).products, 15 + 30);
}

TEST(LowRank, SaysWhatItDoesNotKnow) {
  Tensor eigenvalues = power_law(kSize, 1);
  auto A = rotated_diagonal(eigenvalues, 7);
  auto unmeasured = low_rank(*A, {.count = 5, .error_probes = 0});
  EXPECT_FALSE(unmeasured.error_exact);
  EXPECT_EQ(unmeasured.products, 15 * 4);
  EXPECT_LE(unmeasured.error_low, true_error(*A, unmeasured));
  EXPECT_EQ(unmeasured.error_high, std::numeric_limits<double>::infinity());
  auto broken = diagonal_operator(at::full({kSize}, std::numeric_limits<double>::quiet_NaN(), at::kDouble));
  for (auto method :
       {LowRankMethod::svd, LowRankMethod::qr, LowRankMethod::randomized_svd, LowRankMethod::randomized_qr,
        LowRankMethod::nystrom, LowRankMethod::indefinite_nystrom, LowRankMethod::lanczos}) {
    auto result = low_rank(*broken, {.method = method});
    EXPECT_EQ(result.stop, LowRankStop::non_finite) << to_string(method);
    EXPECT_EQ(result.rank(), 0);
  }
  EXPECT_THROW(low_rank(*A, {.count = 0}), Error);
  EXPECT_THROW(low_rank(*A, {.tolerance = 0.1}), Error);
  EXPECT_THROW(low_rank(*dense_operator(at::ones({3, 3}, at::kDouble))), Error);
}

TEST(PivotedQr, ChoosesTheColumnWithMostLeftEachTime) {
  Tensor M = RandomStream(8, "matrix").normal({30, 30}, at::kDouble);
  auto qr = pivoted_qr(M, 30);
  EXPECT_LT(departure_from_orthonormal(qr.Q), 1e-13);
  Tensor R = qr.Q.t().mm(M.index_select(1, at::tensor(qr.columns, at::kLong)));
  EXPECT_LT(R.tril(-1).abs().max().item<double>(), 1e-12);
  for (int64_t k = 0; k < 30; ++k) {  // what is left of later columns never exceeds the pivot
    Tensor left = R.slice(0, k).slice(1, k).norm(2, {0});
    EXPECT_LE(left.max().item<double>(), left[0].item<double>() * (1 + 1e-12));
  }
  Tensor low = M.narrow(1, 0, 4).mm(M.narrow(0, 0, 4));
  EXPECT_EQ(pivoted_qr(low, 30).Q.size(1), 4);
}

TEST(ChiSquareQuantile, EqualsTheTables) {
  EXPECT_NEAR(chi_square_quantile(0.975, 1), 5.023886, 1e-6);
  EXPECT_NEAR(chi_square_quantile(0.025, 1), 9.82069e-4, 1e-9);
  EXPECT_NEAR(chi_square_quantile(0.025, 30), 16.790772, 1e-6);
  EXPECT_NEAR(chi_square_quantile(0.975, 30), 46.979242, 1e-6);
  EXPECT_NEAR(chi_square_quantile(0.5, 2), 2 * std::log(2.0), 1e-12);
}

}  // namespace
}  // namespace osculant
