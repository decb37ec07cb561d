#include "osculant/diagnose/sampling_error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn.h>
#include <torch/types.h>

#include <cmath>

#include "osculant/base/random.h"
#include "osculant/base/testing.h"
#include "osculant/curvature/curvature.h"

namespace osculant {
namespace {

using ::testing::HasSubstr;

// Rows of N(0, diag(variances)): the second moment matrix X'X / N tends to diag(variances).
Tensor rows(const Tensor& variances, int64_t N, uint64_t seed) {
  return RandomStream(seed, "x").normal({N, variances.numel()}, at::kDouble) * variances.sqrt();
}

double largest_of(const Tensor& x) {
  return at::linalg_eigvalsh(x.t().mm(x) / static_cast<double>(x.size(0))).max().item<double>();
}

SamplingError of_largest(const Tensor& x) {
  int64_t N = x.size(0);
  std::vector<PartsOfASize> sizes;
  for (int64_t parts : {2, 4, 8}) {
    sizes.push_back({.parts = parts, .values = {}});
    for (int64_t part = 0; part < parts; ++part)
      sizes.back().values.push_back(largest_of(x.slice(0, part * N / parts, (part + 1) * N / parts)));
  }
  return extrapolate(largest_of(x), 0, N, sizes);
}

struct Coverage {
  int covered = 0;
  double value = 0, estimate = 0, deviation = 0, width = 0, spread = 0;  // means over seeds
};

Coverage over_seeds(const Tensor& variances, int64_t N, int seeds) {
  Coverage found;
  double truth = variances.max().item<double>(), squares = 0;
  for (int seed = 0; seed < seeds; ++seed) {
    SamplingError e = of_largest(rows(variances, N, seed));
    found.covered += e.population.low <= truth && truth <= e.population.high;
    found.value += e.value / seeds;
    squares += e.value * e.value / seeds;
    found.estimate += e.population.value / seeds;
    found.deviation += e.deviation / seeds;
    found.width += (e.population.high - e.population.low) / seeds;
  }
  found.spread = std::sqrt(squares - found.value * found.value);
  return found;
}

// The largest eigenvalue of the population is 10; its sample value has deviation 10 sqrt(2/N) and bias
// 10 / N * sum of l_j / (10 - l_j).
TEST(SamplingError, OfAnIsolatedEigenvalueCoversThePopulations) {
  constexpr int64_t N = 400;
  constexpr int seeds = 200;
  Tensor variances = at::cat({at::full({1}, 10., at::kDouble), at::ones({19}, at::kDouble)});
  Coverage found = over_seeds(variances, N, seeds);
  EXPECT_GE(found.covered, 0.92 * seeds);
  EXPECT_NEAR(found.deviation, found.spread, 0.15 * found.spread);
  EXPECT_NEAR(found.spread, 10 * std::sqrt(2. / N), 0.15 * found.spread);
  EXPECT_LT(found.width, 6 * found.spread);  // of 4.7 at seven degrees of freedom
  EXPECT_NEAR(found.estimate, 10, 4 * found.spread / std::sqrt(seeds));
}

// Without a gap the largest of N = 10 n examples is about (1 + sqrt(0.1))^2 = 1.73 where the population has 1
// (Marchenko & Pastur 1967): all of it is bias, and the interval of the value itself would never reach 1.
TEST(SamplingError, OfASpectrumWithoutAGapReachesThePopulation) {
  constexpr int seeds = 100;
  Coverage found = over_seeds(at::ones({30}, at::kDouble), 300, seeds);
  EXPECT_NEAR(found.value, 1.73, 0.1);
  EXPECT_GE(found.covered, 0.92 * seeds);
  EXPECT_LT(std::abs(found.estimate - 1), 0.6 * (found.value - 1));
  EXPECT_GT(found.value - 4 * found.deviation, 1);
}

// y_k = a + c k^p / N^p exactly, p = 1 and 1/2: the extrapolation finds a, and y from halves and quarters.
TEST(SamplingError, ExtrapolatesTheLawsOfTheBiasExactly) {
  for (double p : {1., 0.5, 0.8}) {
    constexpr double a = 3, c = 2;
    std::vector<PartsOfASize> sizes;
    for (int64_t parts : {2, 4, 8})
      sizes.push_back(
          {.parts = parts,
           .values = std::vector<double>(parts, a + c * std::pow(static_cast<double>(parts) / 100, p))});
    double value = a + c * std::pow(0.01, p);
    SamplingError found = extrapolate(value, 0, 100, sizes);
    EXPECT_NEAR(found.population.value, a, 1e-12);
    EXPECT_NEAR(found.bias.value, value - a, 1e-12);
    EXPECT_NEAR(found.deviation, 0, 1e-12);
    EXPECT_LE(found.population.low, a + 1e-12);
    EXPECT_GE(found.population.high, a - 1e-12);
    EXPECT_LE(found.predicted.low, value + 1e-12);
    EXPECT_GE(found.predicted.high, value - 1e-12);
  }
}

// A mean has no bias, and s / sqrt(N) is its deviation: parts 1, 2, 3, ..., 8 of one example each.
TEST(SamplingError, OfAMeanIsItsStandardError) {
  std::vector<PartsOfASize> sizes{{.parts = 2, .values = {2.5, 6.5}},
                                  {.parts = 4, .values = {1.5, 3.5, 5.5, 7.5}},
                                  {.parts = 8, .values = {1, 2, 3, 4, 5, 6, 7, 8}}};
  SamplingError found = extrapolate(4.5, 0.1, 8, sizes);
  EXPECT_NEAR(found.bias.high - found.bias.low, 0, 1e-14);
  // (7 * 6 + 3 * 2 * 20/3 + 1 * 4 * 8) / 11 = s^2
  double expected = std::sqrt((7 * 6 + 3 * 2 * 20. / 3 + 4 * 8.) / 11 / 8);
  EXPECT_NEAR(found.deviation, expected, 1e-12);
  EXPECT_NEAR(found.population.high, 4.5 + 2.364624 * expected + 0.1, 1e-5);  // t of seven degrees of freedom
  EXPECT_NEAR(found.predicted.value, 4.5, 1e-12);
}

Objective regression(const Tensor& x) {
  torch::nn::Linear layer(torch::nn::LinearOptions(x.size(1), 1).bias(false));
  layer->to(torch::kFloat64);
  return {Model(layer), MeanSquaredError(), Dataset(x, at::zeros({x.size(0), 1}, at::kDouble)).batches(64)};
}

MatrixOf hessian() {
  return [](const Objective& objective) { return std::make_unique<Hessian>(objective); };
}

// Of linear regression the Hessian is 2 X'X / N.
TEST(SamplingError, MeasuresEveryPartOfTheExamplesOnce) {
  Tensor x = rows(at::tensor({4., 1., 0.25}, at::kDouble), 40, 3);
  Objective objective = regression(x);
  auto found = sampling_error(objective, Hessian(objective), hessian());
  ASSERT_TRUE(found.finished);
  Tensor l = at::linalg_eigvalsh(2 * x.t().mm(x) / 40);
  EXPECT_NEAR(found.largest.value, l[2].item<double>(), 1e-12);
  EXPECT_NEAR(found.smallest.value, l[0].item<double>(), 1e-12);
  EXPECT_NEAR(found.trace.value, l.sum().item<double>(), 1e-12);
  ASSERT_EQ(found.trace.sizes.size(), 3u);
  for (const auto& size : found.trace.sizes) {
    EXPECT_EQ(static_cast<int64_t>(size.values.size()), size.parts);
    EXPECT_NEAR(size.mean, found.trace.value, 1e-12);  // a trace is linear: its mean over parts is the whole
    EXPECT_GT(size.deviation, 0);
  }
  for (const auto& size : found.largest.sizes) EXPECT_GE(size.mean, found.largest.value);
  for (const auto& size : found.smallest.sizes) EXPECT_LE(size.mean, found.smallest.value);
  EXPECT_GT(found.largest.bias.value, 0);
  EXPECT_LT(found.smallest.bias.value, 0);
}

TEST(SamplingError, TakesPairsThatAreKnownAndCostsEachSizeOnce) {
  Tensor x = rows(at::tensor({4., 1., 0.25}, at::kDouble), 40, 3);
  Objective objective = regression(x);
  Hessian H(objective);
  auto pairs = eigenpairs(H, {.count = 1, .target = EigenTarget::both});
  H.linearization().graphs();
  double before = objective.ledger().gradient_equivalents();
  sampling_error(objective, H, hessian(), &pairs);
  // The trace of all, and for each size matrices formed and traces summed: 3 products each.
  EXPECT_NEAR(objective.ledger().gradient_equivalents() - before,
              3 * Price::hessian_product + 3 * (Price::gradient_graph + 6 * Price::hessian_product), 1e-9);
}

TEST(SamplingError, StopsWhenAskedTo) {
  Objective objective = regression(rows(at::ones({2}, at::kDouble), 40, 3));
  SamplingErrorOptions options;
  std::vector<int64_t> asked;
  std::vector<double> done;
  options.go_on = [&](const SamplingProgress& now) {
    EXPECT_EQ(now.matrices, 15);
    asked.push_back(now.matrix);
    done.push_back(now.sizes_done);
    return now.matrix < 5;
  };
  EXPECT_FALSE(sampling_error(objective, Hessian(objective), hessian(), nullptr, options).finished);
  EXPECT_EQ(asked, (std::vector<int64_t>{1, 2, 3, 4, 5}));
  EXPECT_EQ(done, (std::vector<double>{0, 0, 0.5, 1, 1.25})) << "of two halves and a quarter";
}

TEST(SamplingError, RefusesTooFewExamples) {
  Objective objective = regression(rows(at::ones({2}, at::kDouble), 15, 3));
  EXPECT_THAT(message_of([&] { require_parts(objective); }, ErrorKind::usage), HasSubstr(">= 16"));
}

}  // namespace
}  // namespace osculant
