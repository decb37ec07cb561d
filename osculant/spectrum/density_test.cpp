#include "osculant/spectrum/density.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <numbers>

#include "osculant/base/error.h"
#include "osculant/spectrum/testing.h"

namespace osculant {
namespace {

using testing::rotated_diagonal;

// The smoothed density and the distribution from all eigenvalues.
Tensor smoothed(const Tensor& eigenvalues, const Tensor& grid, double width) {
  Tensor z = (grid.unsqueeze(1) - eigenvalues) / width;
  return (-z.square() / 2).exp().mean(1) / (width * std::sqrt(2 * std::numbers::pi));
}
Tensor distribution(const Tensor& eigenvalues, const Tensor& grid) {
  return (eigenvalues <= grid.unsqueeze(1)).to(at::kDouble).mean(1);
}

class DensityOfSpectra : public ::testing::TestWithParam<int> {
 protected:
  testing::Spectrum spectrum(int64_t n) const { return testing::spectra(n)[GetParam()]; }
};

TEST_P(DensityOfSpectra, IsThatOfAllEigenvaluesWithinItsErrors) {
  auto [name, l] = spectrum(400);
  auto A = rotated_diagonal(l, 1);
  EigenResult outliers = eigenpairs(*A, {.count = 12, .target = EigenTarget::dominant, .tolerance = 1e-5});
  for (bool deflate : {false, true}) {
    SCOPED_TRACE(name + (deflate ? ", deflated" : ""));
    auto sample =
        sample_spectrum(*A, {.steps = 40, .probes = 8, .dense_limit = 0}, deflate ? &outliers : nullptr);
    auto density = spectral_density(sample);
    EXPECT_EQ(density.products, 320);
    Tensor truth = smoothed(l, density.grid, density.width);
    Tensor inside = (density.low <= truth).logical_and(truth <= density.high).to(at::kDouble);
    EXPECT_GT(inside.mean().item<double>(), 0.8);
    EXPECT_NEAR(at::trapezoid(density.density, density.grid).item<double>(), 1, 0.02);
    double height = 0.4 / density.width;
    EXPECT_LT(density.quadrature_error, 1e-3 * height);
    // The Wasserstein distance of two distributions on a line is the area between them.
    Tensor F = distribution(l, density.grid);
    double distance = at::trapezoid((density.cumulative - F).abs(), density.grid).item<double>();
    EXPECT_LE(distance, density.wasserstein_error());
    EXPECT_LT(density.wasserstein_error(), 0.06 * (density.grid[-1] - density.grid[0]).item<double>());
    Tensor held = (density.cumulative_low <= F).logical_and(F <= density.cumulative_high).to(at::kDouble);
    EXPECT_GT(held.mean().item<double>(), 0.8);
    for (int power = 1; power <= 4; ++power)
      EXPECT_NEAR(
          density.moments[power - 1].item<double>(), l.pow(power).mean().item<double>(),
          4 * density.moment_errors[power - 1].item<double>() + 1e-10 * std::pow(sample.scale, power));
  }
}

INSTANTIATE_TEST_SUITE_P(Spectra, DensityOfSpectra, ::testing::Range(0, 6));

TEST(Density, IntervalsCoverAsOftenAsTheySay) {
  Tensor l = at::linspace(-1, 1, 100, at::kDouble);
  auto A = diagonal_operator(l);
  std::vector<int> covered(4, 0);
  for (uint64_t seed = 0; seed < 200; ++seed) {
    auto sample = sample_spectrum(*A, {.steps = 16, .probes = 5, .dense_limit = 0, .seed = seed});
    auto density = spectral_density(sample, {.points = 6, .width = 0.25});
    Tensor truth = smoothed(l, density.grid, density.width);
    Tensor inside = (density.low <= truth).logical_and(truth <= density.high);
    for (int i = 0; i < 4; ++i) covered[i] += inside[i + 1].item<bool>();
  }
  for (int count : covered) {
    EXPECT_GE(count, 180);
    EXPECT_LE(count, 198);
  }
}

// A kernel narrower than the steps resolve: the probes agree with each other and the quadrature is what errs.
TEST(Density, OfAKernelTooNarrowForTheStepsAllowsForTheQuadrature) {
  Tensor l = at::linspace(-1, 1, 2000, at::kDouble);
  auto sample = sample_spectrum(*diagonal_operator(l), {.steps = 8, .probes = 30, .dense_limit = 0});
  auto density = spectral_density(sample, {.width = 0.02});
  Tensor truth = smoothed(l, density.grid, density.width);
  EXPECT_TRUE((density.low <= truth).logical_and(truth <= density.high).all().item<bool>());
  EXPECT_GT((density.density - truth).abs().max().item<double>(), 0.5);
  EXPECT_GT(density.quadrature_error, 0.5);
}

TEST(Density, OfAnOperatorThatIsFormedIsExact) {
  for (auto& [name, l] : testing::spectra(80)) {
    SCOPED_TRACE(name);
    auto density = spectral_density(sample_spectrum(*rotated_diagonal(l, 4)));
    EXPECT_TRUE(density.exact);
    Tensor truth = smoothed(l, density.grid, density.width);
    EXPECT_TRUE(at::allclose(density.density, truth, 1e-9, 1e-9));
    EXPECT_TRUE((density.high - density.low <= 1e-9 / density.width).all().item<bool>());
    EXPECT_LT((density.cumulative - distribution(l, density.grid)).abs().max().item<double>(), 1e-12);
  }
}

TEST(Density, OfSingularCases) {
  for (int64_t limit : {0, 500})
    for (Tensor l :
         {at::zeros({30}, at::kDouble), at::full({30}, 2., at::kDouble), at::full({1}, -1., at::kDouble),
          testing::cat({at::full({1}, 7., at::kDouble), at::zeros({29}, at::kDouble)})}) {
      auto density = spectral_density(sample_spectrum(*rotated_diagonal(l, 5), {.dense_limit = limit}));
      EXPECT_NEAR(at::trapezoid(density.density, density.grid).item<double>(), 1, 0.2);
      EXPECT_EQ(density.cumulative[-1].item<double>(), 1);
      EXPECT_LE(density.grid[0].item<double>(), l.min().item<double>());
      EXPECT_GE(density.grid[-1].item<double>(), l.max().item<double>());
    }
  auto nothing = sample_spectrum(*diagonal_operator(at::ones({30}, at::kDouble)),
                                 {.dense_limit = 0, .progress = [](int64_t) { return false; }});
  auto unknown = spectral_density(nothing);
  EXPECT_EQ(unknown.grid.numel(), 0);
  EXPECT_THAT(unknown.report(), ::testing::HasSubstr("unknown"));
}

}  // namespace
}  // namespace osculant
