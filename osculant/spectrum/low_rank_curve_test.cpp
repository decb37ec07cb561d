#include "osculant/spectrum/low_rank_curve.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "osculant/base/error.h"
#include "osculant/spectrum/testing.h"

namespace osculant {
namespace {

using testing::cat;
using testing::power_law;
using testing::rotated_diagonal;

constexpr int64_t kSize = 120;

Tensor both_signs(int64_t n = kSize) {
  return cat({power_law(kSize, 1).slice(0, 0, n - 5), -at::linspace(0.2, 0.6, 5, at::kDouble)});
}

// norm_F(A - A_k) / norm_F(A) for k from 0 to the rank, of the factorisation that a curve is told of.
std::vector<double> true_errors(const LinearOperator& A, const LowRank& factors) {
  Tensor M = to_dense(A).to(at::kDouble), V = factors.vectors.to(at::kDouble);
  std::vector<double> errors;
  for (int64_t k = 0; k <= factors.rank(); ++k) {
    Tensor kept = (V.narrow(1, 0, k) * factors.values.narrow(0, 0, k)).mm(V.narrow(1, 0, k).t());
    errors.push_back((M - kept).norm().item<double>() / M.norm().item<double>());
  }
  return errors;
}

LowRank factors_of(const LinearOperator& A, LowRankMethod method, const LowRankCurveOptions& options) {
  return low_rank(A, {.method = method,
                      .count = options.count,
                      .oversampling = options.oversampling,
                      .power_passes = options.power_passes,
                      .negative_products = 0,
                      .error_probes = 0,
                      .seed = options.seed});
}

int64_t first_within(const std::vector<double>& errors, double wanted) {
  auto found = std::find_if(errors.begin(), errors.end(), [&](double x) { return x <= wanted; });
  return found - errors.begin();
}

TEST(LowRankCurve, OfAFormedMatrixIsExactForEveryMethod) {
  for (auto dtype : {at::kDouble, at::kFloat}) {
    auto A = rotated_diagonal(both_signs(), 1, dtype);
    LowRankCurveOptions options{.count = 12, .wanted = 0.5};
    auto result = low_rank_curves(*A, options);
    EXPECT_TRUE(result.exact);
    EXPECT_EQ(result.products, kSize);
    EXPECT_EQ(low_rank_curve_products(kSize, false, options), kSize);
    EXPECT_NEAR(result.frobenius.value, both_signs().norm().item<double>(), 1e-5);
    Tensor M = to_dense(*A).to(at::kDouble);
    auto formed = dense_operator((M + M.t()) / 2, true);
    for (const auto& curve : result.curves) {
      SCOPED_TRACE(to_string(curve.method));
      if (curve.method == LowRankMethod::nystrom) {
        EXPECT_EQ(curve.most(), -1);
        EXPECT_EQ(curve.note, "not known to be positive semidefinite");
        EXPECT_EQ(curve.rank_words(), "unknown");
        continue;
      }
      auto truth = true_errors(*formed, factors_of(*formed, curve.method, options));
      ASSERT_EQ(curve.most(), 12);
      for (size_t k = 0; k < truth.size(); ++k) {
        EXPECT_NEAR(curve.error[k].value, truth[k], 1e-7);
        EXPECT_LE(curve.error[k].low, truth[k]);
        EXPECT_GE(curve.error[k].high, truth[k]);
        EXPECT_LT(curve.error[k].high - curve.error[k].low, 1e-5);
      }
      EXPECT_EQ(curve.rank_low, first_within(truth, 0.5));
      EXPECT_EQ(curve.rank_high, curve.rank_low <= 12 ? curve.rank_low : -1);
    }
  }
}

TEST(LowRankCurve, OfTheFormedMatrixFallsToTheBest) {
  Tensor l = power_law(kSize, 1.5);
  auto result = low_rank_curves(*diagonal_operator(l), {.count = 30, .wanted = 0.05});
  double norm = l.norm().item<double>();
  for (const auto& curve : result.curves) {
    SCOPED_TRACE(to_string(curve.method));
    for (int64_t k = 0; k <= 30; ++k) {
      double best = l.slice(0, k).norm().item<double>() / norm;
      EXPECT_GE(curve.error[k].high, best);
      EXPECT_LE(curve.error[k].low, 3 * best + 1e-9);
    }
  }
  EXPECT_EQ(result.curves[0].rank_words(),
            std::to_string(first_within(
                true_errors(*diagonal_operator(l),
                            factors_of(*diagonal_operator(l), LowRankMethod::svd, {.count = 30})),
                0.05)));
}

// All ranks at once for methods that project; each rank for Nystrom's, and norm_F.
TEST(LowRankCurve, IntervalsCoverAsOftenAsTheySay) {
  auto A = rotated_diagonal(both_signs(60), 2);
  double norm = both_signs(60).norm().item<double>();
  auto pairs = eigenpairs(*A, {.count = 4, .target = EigenTarget::both, .dense_limit = 0});
  int projected = 0, sketched = 0, known = 0, ranks = 0, norms = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    LowRankCurveOptions options{
        .count = 6,
        .wanted = 0.4,
        .methods = {LowRankMethod::randomized_svd, LowRankMethod::indefinite_nystrom, LowRankMethod::lanczos},
        .oversampling = 3,
        .power_passes = 0,
        .dense_limit = 0,
        .seed = seed};
    auto result = low_rank_curves(*A, options, &pairs);
    ASSERT_FALSE(result.exact);
    auto holds = [&](size_t i, const std::vector<double>& truth, size_t k) {
      return result.curves[i].error[k].low <= truth[k] && truth[k] <= result.curves[i].error[k].high;
    };
    auto svd = true_errors(*A, factors_of(*A, LowRankMethod::randomized_svd, options)),
         nystrom = true_errors(*A, factors_of(*A, LowRankMethod::indefinite_nystrom, options));
    bool all = true;
    for (size_t k = 0; k <= 6; ++k) all = all && holds(0, svd, k);
    projected += all;
    sketched += holds(1, nystrom, 4);
    LowRank dominant;
    auto order = std::get<1>(pairs.values.abs().sort(0, true)).slice(0, 0, 6);
    dominant.vectors = pairs.vectors.index_select(1, order);
    dominant.values = pairs.values.index_select(0, order);
    known += holds(2, true_errors(*A, dominant), 6);
    int64_t rank = first_within(svd, 0.4);
    const auto& curve = result.curves[0];
    ranks += curve.rank_low <= rank && (curve.rank_high < 0 || rank <= curve.rank_high);
    norms += result.frobenius.low <= norm && norm <= result.frobenius.high;
  }
  for (int covered : {projected, known}) {
    EXPECT_GE(covered, 180);
    EXPECT_LE(covered, 198);
  }
  EXPECT_GE(norms, 180);
  for (int covered : {sketched, ranks}) EXPECT_GE(covered, 186);
}

TEST(LowRankCurve, CountsItsWork) {
  Tensor l = power_law(kSize, 1);
  auto A = rotated_diagonal(l, 3);
  auto pairs = eigenpairs(*A, {.count = 5, .target = EigenTarget::both, .dense_limit = 0});
  LowRankCurveOptions options{.count = 20, .dense_limit = 0};
  auto result = low_rank_curves(*A, options, &pairs);
  int64_t m = 30, range = m * 4;
  std::vector<int64_t> expected{0, 0, range, range, 0, m, 0};
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(result.curves[i].products, expected[i]) << i;
  EXPECT_EQ(result.products, 2 * range + m + 30);
  EXPECT_EQ(result.products, low_rank_curve_products(kSize, false, options));
  EXPECT_THAT(result.curves[0].note, ::testing::HasSubstr("formed up to n = 0"));
  EXPECT_EQ(result.curves[6].most(), 10);
  EXPECT_THAT(result.curves[6].note, ::testing::HasSubstr("ends at rank 10"));

  auto semidefinite = diagonal_operator(l);
  auto more = low_rank_curves(*semidefinite, options);
  EXPECT_EQ(more.products, low_rank_curve_products(kSize, true, options));
  EXPECT_EQ(more.curves[4].products, m);
  EXPECT_THAT(more.curves[6].note, ::testing::HasSubstr("no eigenpairs"));
}

TEST(LowRankCurve, AnswersInWordsWhatRankIsEnough) {
  Tensor l = cat({at::full({12}, 5.0, at::kDouble), at::full({kSize - 12}, 0.01, at::kDouble)});
  auto A = rotated_diagonal(l, 4);
  auto words = [&](LowRankCurveOptions options) {
    options.methods = {LowRankMethod::randomized_svd};
    return low_rank_curves(*A, options).curves[0].rank_words();
  };
  EXPECT_EQ(words({}), "12");
  EXPECT_EQ(words({.dense_limit = 0}), "12");
  EXPECT_EQ(words({.count = 8}), "more than 8");
  // norm_F^2 of what is left lies between the two that 30 probes cannot tell apart.
  double truth = l.slice(0, 9).norm().item<double>() / l.norm().item<double>();
  EXPECT_EQ(words({.count = 9, .wanted = truth, .dense_limit = 0}), "9 or more");
  auto broken = low_rank_curves(*diagonal_operator(at::full({kSize}, NAN, at::kDouble)));
  EXPECT_TRUE(std::isnan(broken.frobenius.value));
  for (const auto& curve : broken.curves) EXPECT_EQ(curve.note, "a product was not finite");
  EXPECT_THAT(broken.report(), ::testing::HasSubstr("unknown"));
  auto zero = low_rank_curves(*diagonal_operator(at::zeros({kSize}, at::kDouble)));
  EXPECT_EQ(zero.curves[0].rank_words(), "0");
  EXPECT_THROW(low_rank_curves(*A, {.count = 0}), Error);
  EXPECT_THROW(low_rank_curves(*A, {.wanted = 1}), Error);
  EXPECT_THROW(low_rank_curves(*dense_operator(at::ones({3, 3}, at::kDouble))), Error);
}

}  // namespace
}  // namespace osculant
