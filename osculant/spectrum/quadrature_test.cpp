#include "osculant/spectrum/quadrature.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <numbers>

#include "osculant/base/random.h"
#include "osculant/spectrum/lanczos.h"
#include "osculant/spectrum/ritz.h"
#include "osculant/spectrum/testing.h"

namespace osculant {
namespace {

// The spectral measure of a random vector in a basis of eigenvectors, and Lanczos from it.
struct Truth {
  std::vector<double> eigenvalues, weights;
  ProbeMeasure probe;

  double below(double t, bool strictly = false) const {
    double sum = 0;
    for (size_t i = 0; i < weights.size(); ++i)
      if (eigenvalues[i] < t || (!strictly && eigenvalues[i] == t)) sum += weights[i];
    return sum;
  }
  double integral(const std::function<double(double)>& f) const {
    double sum = 0;
    for (size_t i = 0; i < weights.size(); ++i) sum += weights[i] * f(eigenvalues[i]);
    return sum;
  }
};

Truth truth_of(const Tensor& eigenvalues, int64_t steps, uint64_t seed) {
  RandomStream random(seed, "probe");
  auto A = diagonal_operator(eigenvalues);
  Tensor z = random.normal({eigenvalues.numel()}, at::kDouble);
  Lanczos lanczos(*A, {steps, 1e-8, true}, random);
  lanczos.start_from(z);
  while (!lanczos.full() && !lanczos.first_cycle_closed()) lanczos.extend();
  return {to_vector(eigenvalues), to_vector(z.square() / z.square().sum()),
          ProbeMeasure(lanczos.first_cycle(), lanczos.first_cycle_closed())};
}

TEST(GaussRule, IsTheEigenproblemOfTheTridiagonalMatrix) {
  for (int64_t m : {1, 2, 30}) {
    RandomStream random(static_cast<uint64_t>(m), "tridiagonal");
    Tensor d = random.normal({m}, at::kDouble), e = random.normal({m}, at::kDouble);
    if (m > 2) e[m / 2] = 0;  // two matrices
    auto rule = gauss_rule(to_vector(d), to_vector(e));
    Tensor T = at::diag(d);
    if (m > 1) T = T + at::diag(e.narrow(0, 0, m - 1), 1) + at::diag(e.narrow(0, 0, m - 1), -1);
    auto [values, vectors] = at::linalg_eigh(T);
    EXPECT_TRUE(at::allclose(at::tensor(rule.nodes, at::kDouble), values, 1e-13, 1e-13));
    EXPECT_TRUE(at::allclose(at::tensor(rule.weights, at::kDouble), vectors[0].square(), 1e-12, 1e-13));
  }
}

// The two matrices whose rules are in every table: Chebyshev's of the first kind and Legendre's.
TEST(GaussRule, HasTheNodesAndWeightsOfTheTables) {
  auto chebyshev = gauss_rule({0, 0, 0, 0}, {std::sqrt(0.5), 0.5, 0.5});
  for (int i = 0; i < 4; ++i) {
    EXPECT_NEAR(chebyshev.nodes[i], -std::cos(std::numbers::pi * (2 * i + 1) / 8), 1e-15);
    EXPECT_NEAR(chebyshev.weights[i], 0.25, 1e-15);
  }
  auto legendre = gauss_rule({0, 0, 0}, {std::sqrt(1.0 / 3), std::sqrt(4.0 / 15)});
  EXPECT_NEAR(legendre.nodes[2], std::sqrt(0.6), 1e-15);
  EXPECT_NEAR(legendre.weights[1], 4.0 / 9, 1e-15);
}

TEST(ProbeMeasure, BoundsHoldEverywhereAndNarrowWithTheSteps) {
  for (auto& spectrum : testing::spectra(150)) {
    SCOPED_TRACE(spectrum.name);
    Tensor l = spectrum.eigenvalues;
    double low = l.min().item<double>(), high = l.max().item<double>(), width = high - low, before = 1e300;
    for (int64_t steps : {3, 12, 48}) {
      Truth truth = truth_of(l, steps, 3);
      double sum = 0;
      for (int i = 0; i <= 100; ++i) {
        double t = i == 50 ? l[70].item<double>() : low - 0.05 * width + i * 0.011 * width;
        auto [L, U] = truth.probe.bounds_below(t);
        EXPECT_LE(L, truth.below(t, true) + 1e-10) << t << " " << steps;
        EXPECT_GE(U, truth.below(t) - 1e-10) << t << " " << steps;
        EXPECT_LE(L - 1e-10, truth.probe.below(t)) << t;
        EXPECT_GE(U + 1e-10, truth.probe.below(t)) << t;
        sum += U - L;
      }
      EXPECT_LT(sum, before);
      before = sum;
    }
  }
}

TEST(ProbeMeasure, BoundsHoldAtItsOwnNodesAndWithinRoundingOfThem) {
  Truth truth = truth_of(at::linspace(-1, 1, 200, at::kDouble), 20, 5);
  for (double node : truth.probe.gauss().nodes)
    for (double off : {0., 1e-16, -1e-16, 1e-13, -1e-13, 1e-9}) {
      auto [L, U] = truth.probe.bounds_below(node + off);
      EXPECT_LE(L, truth.below(node + off) + 1e-12);
      EXPECT_GE(U, truth.below(node + off) - 1e-12);
      EXPECT_LT(U - L, 0.2);
    }
}

TEST(ProbeMeasure, OfAnInvariantSubspaceIsTheMeasure) {
  Tensor l = testing::cat(
      {at::full({5}, -2., at::kDouble), at::zeros({20}, at::kDouble), at::ones({7}, at::kDouble)});
  Truth truth = truth_of(l, 10, 1);
  ASSERT_TRUE(truth.probe.exact());
  EXPECT_EQ(truth.probe.gauss().nodes.size(), 3u);
  for (double t : {-3., -1., 0.5, 2.}) {
    auto [L, U] = truth.probe.bounds_below(t);
    EXPECT_NEAR(L, truth.below(t), 1e-13);
    EXPECT_NEAR(U, truth.below(t), 1e-13);
  }
}

TEST(ProbeMeasure, IntegratesPolynomialsAndEnclosesTheRest) {
  for (auto& spectrum : testing::spectra(150)) {
    SCOPED_TRACE(spectrum.name);
    Tensor l = spectrum.eigenvalues;
    double low = l.min().item<double>(), high = l.max().item<double>(), scale = std::max(-low, high);
    Truth truth = truth_of(l, 12, 9);
    auto cube = [&](double x) { return std::pow(x / scale, 23); };
    EXPECT_NEAR(truth.probe.integral(cube), truth.integral(cube), 1e-12);
    auto size = [](double x) { return std::abs(x); };
    double expected = truth.integral(size);
    auto bounds = truth.probe.bounds_of_integral(size, {low, std::clamp(0., low, high), high});
    EXPECT_LE(bounds.low, expected + 1e-12);
    EXPECT_GE(bounds.high, expected - 1e-12);
    EXPECT_LT(bounds.high - bounds.low, 0.5 * scale);
    double error = quadrature_error(12, size, low, high);
    EXPECT_LE(std::abs(truth.probe.integral(size) - expected), error);
    EXPECT_LT(error, 0.06 * (high - low));
  }
}

TEST(QuadratureError, OfAGaussianIsAboveWhatIsMeasuredAndFallsFast) {
  for (double width : {0.05, 0.2, 0.5}) {
    double worst = 0, bound = gaussian_quadrature_error(20, width, 2);
    for (uint64_t seed = 0; seed < 5; ++seed) {
      Truth truth = truth_of(at::linspace(-1, 1, 300, at::kDouble), 20, seed);
      for (double t = -1; t < 1; t += 0.01) {
        auto f = [&](double x) { return std::exp(-std::pow((x - t) / width, 2) / 2); };
        worst = std::max(worst, std::abs(truth.probe.integral(f) - truth.integral(f)));
      }
    }
    EXPECT_GE(bound + 1e-14, worst) << width;
    auto centred = [&](double x) { return std::exp(-std::pow(x / width, 2) / 2); };
    EXPECT_GE(bound + 1e-14, quadrature_error(20, centred, -1, 1)) << width;
  }
  EXPECT_LT(gaussian_quadrature_error(60, 1.5 / 60, 1), 1e-5);
  EXPECT_EQ(gaussian_quadrature_error(2, 1e-3, 1), 1);
}

}  // namespace
}  // namespace osculant
